"""A certificate of an ACME server, in the graph: who may touch what, what waits for what, and where secrets are."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from components.services import acme_issuer
from components.settings.parse import parse
from components.settings.problem import SettingsError
from host.authority import make_authority
from tests.support.golden import compare
from tests.support.graph import Graph, Secret
from tests.support.manifests import ACME_DNS, ACME_EAB_KEY, Manifest, graph, manifests, to_yaml
from tests.support.settings import VALID

HOST, EMAIL = "chat.acme-test.org", "ops@acme-test.org"

NAMES = ("acme-issuer", "acme-account", "traefik-acme")


def config(acme: dict[str, Any] | None, **tls: Any) -> dict[str, Any]:
    given = {"kind": "acme", **({"acme": acme} if acme is not None else {}), **tls}
    return {**copy.deepcopy(VALID), "ingress": {"host": HOST, "tls": given}}


@cache
def http01() -> Graph:
    return graph(parse(config({"email": EMAIL})))


@pytest.fixture(scope="module")
def dns01(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    authority = tmp_path_factory.mktemp("own") / "ca.pem"
    authority.write_text(make_authority().certificate)
    own = {"email": EMAIL, "directory": "https://ca.acme-test.org/dir", "caFile": str(authority), "profile": "short"}
    return graph(parse(config(own | {"dnsProvider": "webhook", "dnsServers": ["9.9.9.9"], "externalAccount": "kid"})))


def one(found: Graph, kind: str, name: str) -> Manifest:
    (object_,) = manifests(found, lambda each: (each.kind, each.name) == (kind, name))
    return object_


def arguments(found: Graph) -> list[str]:
    (container,) = one(found, "Deployment", "acme-issuer").pod["spec"]["containers"]
    return [str(each) for each in container["args"]]


def test_objects() -> None:
    mine = manifests(http01(), lambda each: each.name in NAMES and each.kind != "NetworkPolicy")
    assert len(mine) == 8
    compare("manifests/acme.yaml", to_yaml(mine))


def test_the_issuer_may_touch_its_own_secrets_only() -> None:
    rules = one(http01(), "Role", "acme-issuer").body["rules"]
    assert {name for rule in rules for name in rule["resourceNames"]} == {
        "traefik-acme",
        "acme-account",
        "traefik-certificate",
    }
    for rule in rules:
        assert rule["resources"] == ["secrets"]
        assert set(rule["verbs"]) <= ({"get"} if "traefik-certificate" in rule["resourceNames"] else {"get", "patch"})


def test_what_up_makes_of_its_secrets_has_no_content() -> None:
    """Nothing that a later `up` could put in place of what the issuer wrote."""
    for name in ("traefik-acme", "acme-account"):
        assert not {"data", "stringData"} & one(http01(), "Secret", name).body.keys()


def test_the_gateways_show_the_issuers_secret_and_it_has_something_to_show_by_then() -> None:
    store = one(http01(), "TLSStore", "default")
    assert store.spec["defaultCertificate"]["secretName"] == acme_issuer.CERTIFICATE
    # A component's children stand for it.
    assert {"acme-issuer"} <= {
        http01().by_urn[urn].name for urn in store.resource.dependencies if urn in http01().by_urn
    }
    assert "--first=traefik-certificate" in arguments(http01())
    assert one(http01(), "Secret", "traefik-certificate")


def test_the_challenges_come_before_the_redirect() -> None:
    (container,) = one(http01(), "Deployment", "traefik").pod["spec"]["containers"]
    priorities = [
        int(each.rpartition("=")[2]) for each in container["args"] if "redirections.entryPoint.priority" in each
    ]
    (route,) = one(http01(), "IngressRoute", "acme-issuer").spec["routes"]
    assert priorities == [route["priority"] - 1]
    assert f"Host(`{HOST}`)" in route["match"]
    assert one(http01(), "IngressRoute", "qwen3-vl-ingress").spec["entryPoints"] == ["websecure"]


def test_up_waits_for_the_certificate_behind_the_gateways() -> None:
    (wait,) = http01().of_type("host:index:CertificateIssued")
    assert {"traefik"} <= http01().dependency_names(wait.name)
    assert wait.inputs["request"] == f"{HOST} https://acme-v02.api.letsencrypt.org/directory"
    assert len(wait.inputs["peers"]) == 3
    assert f"--host={HOST}" in arguments(http01())


def test_secrets_are_in_files_and_nowhere_else(dns01: Graph) -> None:
    assert dns01.named("acme-issuer-dns").inputs["stringData"] == Secret({"HTTPREQ_ENDPOINT": ACME_DNS})
    text = str([each.body for each in manifests(dns01)])
    assert ACME_DNS not in text
    assert ACME_EAB_KEY not in text
    (container,) = one(dns01, "Deployment", "acme-issuer").pod["spec"]["containers"]
    assert "env" not in container
    assert {each["mountPath"] for each in container["volumeMounts"]} == {
        "/etc/acme/dns",
        "/etc/acme/external-account",
        "/etc/acme/authority",
    }


def test_what_the_issuer_is_told(dns01: Graph) -> None:
    assert {
        f"--email={EMAIL}",
        "--directory=https://ca.acme-test.org/dir",
        "--profile=short",
        "--dns-provider=webhook",
        "--resolvers=9.9.9.9:53",
        "--ca-file=/etc/acme/authority/ca.crt",
        "--eab-key-id=kid",
    } <= set(arguments(dns01))
    assert not [each for each in arguments(dns01) if each.startswith("--gateway")]


def test_dns_01_needs_no_way_in(dns01: Graph) -> None:
    assert not [
        each for each in manifests(dns01) if each.kind in ("Service", "IngressRoute") and each.name == "acme-issuer"
    ]
    (container,) = one(dns01, "Deployment", "traefik").pod["spec"]["containers"]
    assert not [each for each in container["args"] if "redirections.entryPoint.priority" in each]


AT = "ingress.tls.acme"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            config(None),
            f"{AT}: missing with `kind: acme`; the server wants to know whom to write to. "
            "Write `acme: {email: YOU@EXAMPLE.ORG}`.",
        ),
        (
            config({"email": EMAIL}, kind="privateCa"),
            f"{AT}: set with `kind: privateCa`; only `kind: acme` orders a certificate. Remove it or choose `kind: acme`.",
        ),
        (
            config({"email": EMAIL, "dnsServers": ["9.9.9.9"]}),
            f"{AT}.dnsServers: set without dnsProvider; only DNS-01 has a record to look for. Set that too or remove it.",
        ),
        (
            config({"email": EMAIL})
            | {"ingress": {"host": "chat.lan", "tls": {"kind": "acme", "acme": {"email": EMAIL}}}},
            "ingress.host: `chat.lan` with `kind: acme`; Let's Encrypt vouches for names of the public DNS only. "
            "Choose a name that is yours, a server of your own (directory), or `kind: privateCa`.",
        ),
    ],
)
def test_settings_that_do_not_fit_together(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError) as failed:
        parse(given)
    assert str(failed.value) == expected


def test_the_request_is_what_the_issuer_notes() -> None:
    """Said in two languages; tests/webui/test_acme.py compares them in a real run."""
    acme = parse(config({"email": EMAIL, "directory": "https://a.org/d", "profile": "short"})).ingress.tls.acme
    assert acme is not None
    assert acme.request(HOST) == f"{HOST} https://a.org/d short"
    source = Path(__file__).resolve().parents[2] / "tools/acme-issuer/main.go"
    assert 'text := s.host + " " + s.directory' in source.read_text()
