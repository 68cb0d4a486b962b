"""TLS at the gateway, in the graph: one Secret for every replica, what Traefik is told, and nothing where it is off."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from components.services.gateway_tls import LIFE
from components.settings.parse import parse
from tests.support.certificates import HOST, issue
from tests.support.golden import compare
from tests.support.graph import Graph, Secret
from tests.support.manifests import (
    AUTHORITY,
    AUTHORITY_KEY,
    CERTIFICATE,
    CERTIFICATE_KEY,
    INGRESS_KEY,
    Manifest,
    graph,
    manifests,
    to_yaml,
)
from tests.support.settings import VALID

LOGIN = {"kind": "forwardAuth", "address": "http://auth.auth.svc/"}


def build(tls: dict[str, Any], **over: Any) -> Graph:
    ingress = {"address": "192.168.1.200", "tls": tls}
    return graph(parse({**copy.deepcopy(VALID), "ingress": ingress, **over}))


@cache
def private() -> Graph:
    return build({"kind": "privateCa"})


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, str]:
    file = tmp_path_factory.mktemp("own") / "own.pem"
    file.write_text(issue(HOST).pem)
    return build({"kind": "certificate", "certificateFile": str(file)}), file.read_text()


def one(found: Graph, kind: str, name: str) -> Manifest:
    (object_,) = manifests(found, lambda each: (each.kind, each.name) == (kind, name))
    return object_


def flags(found: Graph) -> list[str]:
    (container,) = one(found, "Deployment", "traefik").pod["spec"]["containers"]
    return [str(each) for each in container["args"]]


def stored(found: Graph) -> dict[str, str]:
    content = found.named("traefik-tls-secret").inputs["stringData"]
    assert isinstance(content, Secret)
    values: dict[str, str] = content.value
    return values


def test_a_certificate_of_the_programs_own_is_the_default() -> None:
    """Whoever asks for nothing is safe."""
    assert [each.body for each in manifests(build({}))] == [each.body for each in manifests(private())]


def test_off_is_without_any_of_it() -> None:
    found = build({"kind": "none"})
    assert not found.of_type("host:index:PrivateCertificate")
    assert not [each for each in manifests(found) if each.kind in ("TLSOption", "TLSStore")]
    assert not [flag for flag in flags(found) if "redirections" in flag]
    assert one(found, "IngressRoute", "qwen3-vl-ingress").spec["entryPoints"] == ["web", "websecure"]
    assert "annotations" not in one(found, "Deployment", "traefik").pod["metadata"]


def test_what_tls_adds() -> None:
    before = {(each.kind, each.namespace, each.name) for each in manifests(build({"kind": "none"}))}

    new = manifests(private(), lambda each: (each.kind, each.namespace, each.name) not in before)
    compare("manifests/tls.yaml", to_yaml(new))


def test_every_replica_is_shown_one_secret_that_it_may_read() -> None:
    secret = one(private(), "Secret", "traefik-certificate")
    store = one(private(), "TLSStore", "default")
    assert store.spec["defaultCertificate"]["secretName"] == secret.name
    readable = {each.namespace for each in manifests(private()) if each.kind == "Role" and each.name == "traefik"}
    assert {secret.namespace, store.namespace, one(private(), "TLSOption", "default").namespace} == {"default"}
    assert "default" in readable
    assert f"--providers.kubernetesCRD.namespaces={secret.namespace}" in flags(private())


def test_a_replica_starts_when_its_certificate_is_there() -> None:
    deployment = one(private(), "Deployment", "traefik").resource
    waited = {private().by_urn[urn].name for urn in deployment.dependencies if urn in private().by_urn}
    assert {"traefik-tls-secret", "traefik-tls-store", "traefik-tls-option"} <= waited


def test_the_program_makes_a_certificate_for_the_name_and_the_address() -> None:
    (made,) = private().of_type("host:index:PrivateCertificate")
    assert (made.inputs["names"], made.inputs["addresses"]) == ([HOST], ["192.168.1.200"])
    assert stored(private()) == {"tls.crt": CERTIFICATE, "tls.key": CERTIFICATE_KEY}
    somewhere = graph(parse({**copy.deepcopy(VALID), "ingress": {"tls": {"kind": "privateCa"}}}))
    (made,) = somewhere.of_type("host:index:PrivateCertificate")
    assert (made.inputs["names"], made.inputs["addresses"]) == ([HOST], [])


def test_a_certificate_of_ones_own_comes_with_its_key(own: tuple[Graph, str]) -> None:
    found, pem = own
    assert stored(found) == {"tls.crt": pem, "tls.key": INGRESS_KEY}
    assert not found.of_type("host:index:PrivateCertificate")


def test_pods_are_replaced_by_another_life_of_the_certificate_only(own: tuple[Graph, str], tmp_path: Path) -> None:
    def life(found: Graph) -> str:
        annotations: dict[str, str] = one(found, "Deployment", "traefik").pod["metadata"]["annotations"]
        return annotations[LIFE]

    renewed = tmp_path / "renewed.pem"
    renewed.write_text(issue(HOST, days=(-2, 89)).pem)
    assert life(own[0]) == life(build({"kind": "certificate", "certificateFile": str(renewed)})) == "91"
    assert life(private()) == "397"


def test_no_key_is_seen_anywhere(own: tuple[Graph, str]) -> None:
    for found in (private(), own[0]):
        text = str([each.body for each in manifests(found)]) + str([_plain(each.inputs) for each in found.resources])
        assert not [key for key in (INGRESS_KEY, CERTIFICATE_KEY, AUTHORITY_KEY) if key in text]
    assert AUTHORITY not in str(stored(private())), (
        "a server shows its own certificate; the authority is what clients have"
    )


def test_users_come_by_https_only_and_are_told_so() -> None:
    assert "--entryPoints.web.http.redirections.entryPoint.to=:443" in flags(private())
    route = one(private(), "IngressRoute", "qwen3-vl-ingress").spec
    assert route["entryPoints"] == ["websecure"]
    assert [each["middlewares"][0] for each in route["routes"]] == [{"name": "qwen3-vl-headers"}] * len(route["routes"])
    for backend in (each for each in manifests(private()) if each.kind == "TraefikService"):
        cookie = backend.spec["failover"]["service"]["sticky"]["cookie"]
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "lax")


def test_the_headers_come_before_a_login_and_hsts_can_be_left_out() -> None:
    found = build({"kind": "privateCa", "hstsDays": 0}, webui={"login": LOGIN})
    routes = one(found, "IngressRoute", "qwen3-vl-ingress").spec["routes"]
    page, api = ([each["name"] for each in route["middlewares"]] for route in routes[:2])
    assert page == ["qwen3-vl-headers", "qwen3-vl-login", "qwen3-vl-gateway"]
    assert api == ["qwen3-vl-headers"]
    assert "stsSeconds" not in one(found, "Middleware", "qwen3-vl-headers").spec["headers"]


def _plain(value: Any) -> Any:
    """Without what is marked as secret."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return "[secret]" if isinstance(value, Secret) else value
