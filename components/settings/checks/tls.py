"""Keys of `ingress.tls` that only mean something together; components/settings/certificate.py judges what is in the file."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Settings
from components.settings.problem import Problem
from components.settings.tls import TlsKind


def certificate_file(settings: Settings) -> Iterator[Problem]:
    given = settings.ingress.tls
    path = "ingress.tls.certificateFile"
    if given.kind is TlsKind.CERTIFICATE and given.certificate_file is None:
        rule = "the gateway shows it to every client"
        yield Problem(path, "missing with `kind: certificate`", rule, "Set it or choose `kind: privateCa`")
    if given.kind is not TlsKind.CERTIFICATE and given.certificate_file is not None:
        rule = "only a certificate of your own comes from a file"
        yield Problem(path, f"set with `kind: {given.kind}`", rule, "Remove it or choose `kind: certificate`")
