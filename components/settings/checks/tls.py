"""Keys of `ingress.tls` that only mean something together; components/settings/certificate.py judges what is in the file."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Settings
from components.settings.acme import LETS_ENCRYPT, PRIVATE_NAME
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


def acme(settings: Settings) -> Iterator[Problem]:
    given, host, path = settings.ingress.tls, settings.ingress.host, "ingress.tls.acme"
    if given.kind is not TlsKind.ACME:
        if given.acme is not None:
            rule = "only `kind: acme` orders a certificate"
            yield Problem(path, f"set with `kind: {given.kind}`", rule, "Remove it or choose `kind: acme`")
        return
    if given.acme is None:
        rule = "the server wants to know whom to write to"
        yield Problem(path, "missing with `kind: acme`", rule, "Write `acme: {email: YOU@EXAMPLE.ORG}`")
        return
    for key, value in (("dnsServers", given.acme.dns_servers), ("dnsWaitSeconds", given.acme.dns_wait_seconds)):
        if value and given.acme.dns_provider is None:
            rule = "only DNS-01 has a record to look for"
            yield Problem(f"{path}.{key}", "set without dnsProvider", rule, "Set that too or remove it")
    if given.acme.directory == LETS_ENCRYPT and PRIVATE_NAME.fullmatch(host):
        rule = "Let's Encrypt vouches for names of the public DNS only"
        remedy = "Choose a name that is yours, a server of your own (directory), or `kind: privateCa`"
        yield Problem("ingress.host", f"`{host}` with `kind: acme`", rule, remedy)
