"""The gateway as a client on this machine sees it: the page, the certificate, an answer."""

from __future__ import annotations

import http.client
import os
import ssl
from dataclasses import dataclass

from cryptography import x509

from components.settings import Settings
from tools import ask
from tools.doctor.seen import Served
from tools.machines import asked

SECONDS = 5.0


def authority(settings: Settings) -> str | None:
    """Certificate of the program's own authority, if that signs the gateway's and the state can be read; it is no secret."""
    return asked("stack", "output", "ingressCa", within=15) if settings.ingress.tls.kind == "privateCa" else None


@dataclass(frozen=True, slots=True)
class Gateway:
    settings: Settings
    address: str
    authority: str | None

    def look(self) -> Served | str:
        """Blocks for a few seconds at most; a text says why nothing could be seen."""
        try:
            return self._look()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"{self.address}: {error or type(error).__name__}"

    def _look(self) -> Served:
        tls = self.settings.ingress.tls
        if not tls.on:
            return Served(self._page(self._service(None).connect(SECONDS)))
        # First whatever it shows, so that one that has ended is told by its date; nothing is sent that is worth keeping secret.
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        connection = self._service(anybody).connect(SECONDS)
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)  # noqa: S101 - told to the type checker
        shown = x509.load_der_x509_certificate(connection.sock.getpeercert(binary_form=True) or b"")
        status = self._page(connection)
        ends = shown.not_valid_after_utc.timestamp()
        if tls.kind == "privateCa" and self.authority is None:
            return Served(status, ends, verified=False)
        return Served(status, ends, self._objection())

    def _service(self, tls: ssl.SSLContext | None) -> ask.Service:
        return ask.Service(self.address, self.settings.ingress.host, self.settings.inference.model, tls)

    def _believing(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority)

    def _page(self, connection: http.client.HTTPConnection) -> int:
        try:
            connection.request("GET", "/", headers={"Host": self.settings.ingress.host})
            return connection.getresponse().status
        finally:
            connection.close()

    def _objection(self) -> str:
        """Of a client that believes the authority, or those of this system."""
        connection = self._service(self._believing()).connect(SECONDS)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        finally:
            connection.close()
        return ""

    def ask(self, question: str) -> str:
        """Raises OSError."""
        service = self._service(self._believing() if self.settings.ingress.tls.on else None)
        return ask.ask(service, question, os.environ.get("STACK", "lab"))
