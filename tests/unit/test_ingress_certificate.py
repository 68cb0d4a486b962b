"""The gateway's own certificate: each mistake in its file, its key and its settings, with the exact line."""

from __future__ import annotations

import datetime
from typing import Any

import pulumi
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from components.credentials import checked_dns, checked_eab_key, checked_ingress_key, missing
from components.settings import certificate
from components.settings.acme import Acme, DnsProvider
from components.settings.known import SECRETS
from components.settings.parse import parse
from components.settings.problem import SettingsError
from components.settings.tls import Tls, TlsKind
from components.settings.webui import WebUi
from tests.support.certificates import HOST, NOW, issue
from tests.support.settings import with_value

AT = "ingress.tls.certificateFile"
ROOT_CA = issue(days=(-100, 900), common_name="root")
ISSUER = issue(by=ROOT_CA, days=(-100, 400), common_name="issuer")
OWN = issue(HOST, by=ISSUER)
CHAIN = OWN.pem + ISSUER.pem
SECOND = datetime.timedelta(seconds=1)
DAY = f"{OWN.certificate.not_valid_after_utc:%Y-%m-%d}"


def lines(pem: str, host: str = HOST, now: datetime.datetime = NOW) -> list[str]:
    return [str(problem) for problem in certificate.problems(pem.encode(), host, now)]


@pytest.mark.parametrize(
    "pem",
    [
        CHAIN,
        CHAIN + ROOT_CA.pem,
        issue(HOST).pem,
        issue("other.example.com", HOST).pem,
        issue("*.example.com").pem,
        issue(HOST.upper()).pem,
        issue(HOST, key=rsa.generate_private_key(65537, 2048)).pem,
        issue(HOST, key=ec.generate_private_key(ec.SECP384R1())).pem,
        f"Bag Attributes\n    friendlyName: qwen3\n{CHAIN}",
    ],
)
def test_a_certificate_that_clients_accept_passes(pem: str) -> None:
    assert lines(pem) == []


ISSUED_FOR = f"users ask for ingress.host, `{HOST}`. Order one for that name or correct ingress.host."
BEHIND = (
    "each is signed by the one behind it, the server's own is first. "
    "Put the intermediates behind the server's certificate, in order."
)
KINDS = (
    "a key of another kind or size; browsers accept RSA from 2048 bits and ECDSA on P-256 or P-384. "
    "Order one with such a key."
)
OLD = issue(by=ROOT_CA, days=(-100, -1), common_name="old issuer")


@pytest.mark.parametrize(
    ("pem", "expected"),
    [
        (issue("other.example.com").pem, [f"issued for other.example.com; {ISSUED_FOR}"]),
        (issue("*.qwen3.example.com").pem, [f"issued for *.qwen3.example.com; {ISSUED_FOR}"]),
        (issue("*.com").pem, [f"issued for *.com; {ISSUED_FOR}"]),
        (issue(common_name=HOST).pem, [f"issued for none; {ISSUED_FOR}"]),
        (ISSUER.pem + OWN.pem, [f"certificate 1 of 2 is not signed by certificate 2; {BEHIND}"]),
        (OWN.pem + ROOT_CA.pem + ISSUER.pem, [f"certificate 1 of 3 is not signed by certificate 2; {BEHIND}"]),
        (
            issue(HOST, days=(-30, -2)).pem,
            [
                f"the certificate ended on {NOW - datetime.timedelta(days=2):%Y-%m-%d}; no client accepts it any more. "
                "Put the renewed one there."
            ],
        ),
        (
            issue(HOST, days=(1, 90)).pem,
            [
                f"the certificate is valid from {NOW + datetime.timedelta(days=1):%Y-%m-%d %H:%M} UTC; no client accepts it "
                "before. Wait until then or correct this machine's clock."
            ],
        ),
        (
            issue(HOST, by=OLD).pem + OLD.pem,
            [
                f"certificate 2 of 2 ended on {NOW - datetime.timedelta(days=1):%Y-%m-%d}; no client accepts it any more. "
                "Put the renewed one there."
            ],
        ),
        (issue(HOST, key=rsa.generate_private_key(65537, 1024)).pem, [KINDS]),  # noqa: S505
        (issue(HOST, key=ec.generate_private_key(ec.SECP521R1())).pem, [KINDS]),
        (issue(HOST, key=ed25519.Ed25519PrivateKey.generate()).pem, [KINDS]),
        (
            "",
            [
                "no certificate that can be read; it holds certificates in PEM, the server's own first. "
                "Convert it with `openssl x509 -outform PEM`."
            ],
        ),
        (
            CHAIN + OWN.key_pem,
            [
                "a private key beside the certificate; the key is a secret. Run `pulumi config set --secret ingressKey < "
                "KEY.pem` and leave only certificates in the file."
            ],
        ),
    ],
)
def test_one_that_they_refuse_is_explained(pem: str, expected: list[str]) -> None:
    assert lines(pem) == [f"{AT}: {line}" for line in expected]


def test_every_problem_of_a_sound_chain_is_said_at_once() -> None:
    both = lines(issue("a.example.com", days=(-9, -2)).pem)
    assert [line.split(";")[0].rpartition(": ")[2].split(" ")[0] for line in both] == ["the", "issued"]


def test_it_counts_to_the_second() -> None:
    end = OWN.certificate.not_valid_after_utc
    assert lines(CHAIN, now=end) == []
    assert lines(CHAIN, now=end + SECOND) == [
        f"{AT}: the certificate ended on {DAY}; no client accepts it any more. Put the renewed one there."
    ]


@pytest.mark.parametrize("days", [(-1, 90), (-30, 61)])
def test_a_renewed_certificate_is_valid_as_long_as_its_predecessor(days: tuple[float, float]) -> None:
    assert certificate.life_days(issue(HOST, days=days).pem.encode()) == 91


def test_the_key_may_have_the_line_ends_of_the_config() -> None:
    for text in (OWN.key_pem, OWN.key_pem.strip(), f"\n{OWN.key_pem}\n"):
        assert checked_ingress_key("qwen3-vl", text, CHAIN.encode()) == OWN.key_pem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (issue(HOST).key_pem, "it is not the key of the first certificate in ingress.tls.certificateFile"),
        (ISSUER.key_pem, "it is not the key of the first certificate in ingress.tls.certificateFile"),
        (OWN.pem, "it cannot be read; a private key in PEM is wanted"),
        ("canary-of-the-ingress-key", "it cannot be read; a private key in PEM is wanted"),
        (OWN.private(serialization.BestAvailableEncryption(b"x")), "it has a password, which Traefik cannot be told"),
    ],
)
def test_a_key_that_does_not_fit_is_refused_and_not_shown(text: str, said: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        checked_ingress_key("qwen3-vl", text, CHAIN.encode())
    message = str(caught.value)
    assert message.startswith(f"qwen3-vl:ingressKey: not usable; {said}. Run: ")
    assert not [line for line in text.splitlines() if not line.startswith("-") and line in message]
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "a cause could show the key"


def test_the_key_is_missing_only_where_a_certificate_is_given() -> None:
    own = Tls(kind=TlsKind.CERTIFICATE, certificate_file="own.pem")
    (line,) = missing("qwen3-vl", present={"redisPassword"}, webui=WebUi(), tls=own)
    assert line.startswith("qwen3-vl:ingressKey: missing; ")
    assert line.endswith("Run: pulumi config set --secret ingressKey < KEY.pem")
    assert missing("qwen3-vl", present={"redisPassword", "ingressKey"}, webui=WebUi(), tls=own) == []
    for other in (Tls(), Tls(kind=TlsKind.NONE)):
        assert missing("qwen3-vl", present={"redisPassword"}, webui=WebUi(), tls=other) == []
    assert "ingressKey" in SECRETS


NO_FILE = "only a certificate of your own comes from a file. Remove it or choose `kind: certificate`."


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ({}, []),
        ({"kind": "privateCa"}, []),
        ({"kind": "none"}, []),
        ({"kind": "certificate", "certificateFile": "own.pem", "hstsDays": 0}, []),
        (
            {"kind": "certificate"},
            [
                f"{AT}: missing with `kind: certificate`; the gateway shows it to every client. Set it or choose "
                "`kind: privateCa`."
            ],
        ),
        ({"kind": "none", "certificateFile": "own.pem"}, [f"{AT}: set with `kind: none`; {NO_FILE}"]),
        ({"certificateFile": "own.pem"}, [f"{AT}: set with `kind: privateCa`; {NO_FILE}"]),
        (
            {"kind": "privateCA"},
            [
                "ingress.tls.kind: `privateCA`; the choices are `none`, `certificate`, `privateCa` and `acme`. "
                "Did you mean `privateCa`?"
            ],
        ),
        (
            {"kind": "certificate", "certificateFile": OWN.key_pem},
            [
                f"{AT}: a file's content; the path of a file is wanted. Write its path; a private key itself is a secret, "
                "`sshPrivateKey` or `ingressKey`."
            ],
        ),
        (
            {"kind": "certificate", "certificateFile": "own.pem", "key": "x"},
            [
                "ingress.tls.key: a key that looks like a credential; plain settings hold no secrets. "
                "Remove it and run `pulumi config set --secret ingressKey`."
            ],
        ),
    ],
)
def test_the_settings(tls: dict[str, Any], expected: list[str]) -> None:
    try:
        parse(with_value(("ingress", "tls"), tls))
        found = []
    except SettingsError as error:
        found = str(error).splitlines()
    assert found == expected


def test_a_dns_provider_and_an_external_account_come_with_their_secrets() -> None:
    tls = Tls(
        kind=TlsKind.ACME,
        acme=Acme(email="ops@acme-test.org", dns_provider=DnsProvider.CLOUDFLARE, external_account="kid"),
    )
    dns, key = missing("qwen3-vl", present={"redisPassword"}, webui=WebUi(), tls=tls)
    assert dns.endswith("Run: pulumi config set --secret --path acmeDns.CLOUDFLARE_DNS_API_TOKEN VALUE")
    assert key.endswith("Run: pulumi config set --secret acmeEabKey KEY")
    assert missing("qwen3-vl", present={"redisPassword", "acmeDns", "acmeEabKey"}, webui=WebUi(), tls=tls) == []
    assert {"acmeDns", "acmeEabKey"} <= set(SECRETS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"CLOUDFLARE_DNS_API_TOKEN": "canary"}', ""),
        ('{"token": "canary"}', "acmeDns: `token`; a name is one of lego's variables"),
        (
            '{"CLOUDFLARE_EMAIL": "canary"}',
            "acmeDns.CLOUDFLARE_DNS_API_TOKEN: missing; `dnsProvider: cloudflare` needs it.",
        ),
        ("canary", "acmeDns: not a mapping of names to texts"),
    ],
)
def test_settings_of_a_dns_provider(text: str, said: str) -> None:
    if not said:
        assert checked_dns("qwen3-vl", text, DnsProvider.CLOUDFLARE) == {"CLOUDFLARE_DNS_API_TOKEN": "canary"}
        return
    with pytest.raises(pulumi.RunError) as caught:
        checked_dns("qwen3-vl", text, DnsProvider.CLOUDFLARE)
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_key_of_an_external_account() -> None:
    assert checked_eab_key("qwen3-vl", " zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG\n") == (
        "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG"
    )
    for text in ("short", "canary-with spaces in the middle of it"):
        with pytest.raises(pulumi.RunError) as caught:
            checked_eab_key("qwen3-vl", text)
        assert text not in str(caught.value)
