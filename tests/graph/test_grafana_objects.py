"""Grafana as the program makes it: what reaches its pod, who reaches it, and what leaves with it off."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest
import yaml

from components.observability.dashboards import Parts, dashboards
from components.observability.grafana import derived
from components.settings.parse import parse
from components.settings.stack_file import stack_settings
from tests.support.graph import Graph, Secret
from tests.support.manifests import MADE_KEY, Manifest, graph, manifests, stack_graph
from tests.support.settings import VALID

HOST = "grafana.qwen3.example.com"
PASSWORD, OIDC_SECRET = "canary-of-grafana's-password", "canary-of-grafana's-oidc-secret"
OIDC = {
    "clientId": "grafana",
    "authUrl": "https://login.example.com/auth",
    "tokenUrl": "https://login.example.com/token",
    "apiUrl": "https://login.example.com/userinfo",
    "allowedGroups": ["ops", "dev"],
    "adminGroup": "ops",
}


@cache
def plain() -> Graph:
    return graph(parse(copy.deepcopy(VALID)))


@cache
def shown() -> Graph:
    """At the gateway, with a log-in service and a password of the user's."""
    config = copy.deepcopy(VALID) | {"observability": {"grafana": {"host": HOST, "oidc": OIDC}}}
    return graph(parse(config), grafana_admin_password=PASSWORD, grafana_oidc_secret=OIDC_SECRET)


def of(found: Graph, kind: str, name: str, namespace: str = "observability") -> Manifest:
    (one,) = [
        each
        for each in manifests(found)
        if (each.kind, each.namespace) == (kind, namespace) and each.name.startswith(name)
    ]
    return one


def pod(found: Graph) -> dict[str, Any]:
    spec: dict[str, Any] = of(found, "Deployment", "grafana").pod["spec"]
    return spec


def config(found: Graph) -> dict[str, dict[str, str]]:
    """`grafana.ini` by section."""
    sections: dict[str, dict[str, str]] = {}
    for line in of(found, "ConfigMap", "grafana-config").body["data"]["grafana.ini"].splitlines():
        if line.startswith("["):
            sections[line.strip("[]")] = current = {}
        elif line:
            key, _, value = line.partition(" = ")
            current[key] = value
    return sections


def policy(found: Graph, name: str, namespace: str) -> dict[str, Any]:
    return of(found, "NetworkPolicy", name, namespace).spec


def peers(rules: list[dict[str, Any]], side: str) -> set[tuple[str, int]]:
    """Apps with the ports that are open to or from them; blocks of addresses as they are."""
    return {(app(each), port["port"]) for rule in rules for each in rule[side] for port in rule["ports"]}


def app(peer: dict[str, Any]) -> str:
    if "podSelector" not in peer:
        return str(peer["ipBlock"]["cidr"])
    ((_, value),) = peer["podSelector"]["matchLabels"].items()
    return str(value)


def test_its_pod_finds_what_its_configuration_names() -> None:
    spec = pod(plain())
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert set(mounts) == set(volumes)
    data = of(plain(), "ConfigMap", "grafana-config").body["data"]
    items = {each["key"]: each["path"] for each in volumes["config"]["configMap"]["items"]}
    assert set(items) == set(data)
    assert {"grafana.ini", "provisioning/datasources/sources.yaml"} < set(items.values())
    assert mounts["config"] == "/etc/grafana"
    ((provider,),) = (yaml.safe_load(data["dashboards.yaml"])["providers"],)
    assert provider["options"]["path"] == mounts["dashboards"]
    assert volumes["dashboards"]["configMap"]["name"] == of(plain(), "ConfigMap", "grafana-dashboards").name
    secret = of(plain(), "Secret", "grafana-secrets")
    assert volumes["secrets"]["secret"]["secretName"] == secret.name
    security = config(plain())["security"]
    files = {security[key].removeprefix("$__file{").removesuffix("}") for key in ("admin_password", "secret_key")}
    held = plain().named("grafana-secrets").inputs["stringData"].value
    assert files == {f"{mounts['secrets']}/{name}" for name in held}
    home = config(plain())["dashboards"]["default_home_dashboard_path"]
    assert home.removeprefix(f"{mounts['dashboards']}/") in of(plain(), "ConfigMap", "grafana-dashboards").body["data"]


def test_it_is_given_the_dashboards_of_what_the_stack_runs() -> None:
    data = of(plain(), "ConfigMap", "grafana-dashboards").body["data"]
    uids = {json.loads(text)["uid"] for text in data.values()}
    assert {f"{uid}.json" for uid in uids} == set(data)
    assert {"qwen3-vl-start", "qwen3-vl-gpu", "qwen3-vl-redis"} < uids
    everything = dashboards(
        Parts(objective=parse(copy.deepcopy(VALID)).observability.objective, retention_hours=24, replicas=2)
    )
    assert uids <= {each.uid for each in everything}
    others = graph(parse(copy.deepcopy(VALID) | {"gpu": {"dcgmExporter": False}, "autoscaling": {"gpuUtilization": 0}}))
    assert "qwen3-vl-gpu.json" not in of(others, "ConfigMap", "grafana-dashboards").body["data"]


def test_a_panel_asks_a_source_that_is_there() -> None:
    sources = yaml.safe_load(of(plain(), "ConfigMap", "grafana-config").body["data"]["sources.yaml"])["datasources"]
    known = {(each["type"], each["uid"]) for each in sources}
    services = {
        f"http://{each.name}.{each.namespace}.svc:{port['port']}"
        for each in manifests(plain())
        if each.kind == "Service"
        for port in each.spec["ports"]
    }
    assert {each["url"] for each in sources} <= services
    for text in of(plain(), "ConfigMap", "grafana-dashboards").body["data"].values():
        for panel in json.loads(text)["panels"]:
            if panel["type"] != "row":
                assert (panel["datasource"]["type"], panel["datasource"]["uid"]) in known


def test_its_password_is_secret_and_made_where_none_is_given() -> None:
    made = plain().named("grafana-secrets").inputs["stringData"]
    assert isinstance(made, Secret)
    assert made.value["admin-password"] == derived("admin", MADE_KEY)
    assert made.value["secret-key"] == derived("secret-key", MADE_KEY) != made.value["admin-password"]
    given = shown().named("grafana-secrets").inputs["stringData"]
    assert isinstance(given, Secret)
    assert (given.value["admin-password"], given.value["oidc-secret"]) == (PASSWORD, OIDC_SECRET)
    for found, canaries in ((plain(), (made.value["admin-password"], MADE_KEY)), (shown(), (PASSWORD, OIDC_SECRET))):
        assert not [each for each in manifests(found) if any(canary in repr(each.body) for canary in canaries)]


def test_nobody_is_let_in_unknown_and_nothing_is_told_to_others() -> None:
    found = config(plain())
    assert found["auth.anonymous"]["enabled"] == "false"
    assert found["users"]["allow_sign_up"] == "false"
    assert found["security"]["disable_gravatar"] == "true"
    assert set(found["analytics"].values()) == {"false"}
    assert found["plugins"]["preinstall_disabled"] == "true"
    for section, key in (("snapshots", "external_enabled"), ("news", "news_feed_enabled"), ("metrics", "enabled")):
        assert found[section][key] == "false"
    assert "auth.generic_oauth" not in found


def test_cookies_and_headers_are_those_of_https_where_it_has_a_name() -> None:
    assert config(plain())["security"]["cookie_secure"] == "false"
    assert "strict_transport_security" not in config(plain())["security"]
    found = config(shown())
    assert found["server"]["root_url"] == f"https://{HOST}/"
    assert found["security"]["cookie_secure"] == found["security"]["content_security_policy"] == "true"
    assert found["security"]["strict_transport_security_max_age_seconds"] == str(365 * 24 * 3600)


def test_a_log_in_service_says_who_may_look_and_who_may_change() -> None:
    found = config(shown())["auth.generic_oauth"]
    assert found["allowed_groups"] == "ops dev"
    assert found["role_attribute_path"] == "contains(groups[*], 'ops') && 'Admin' || 'Viewer'"
    assert found["client_secret"] == "$__file{/run/grafana/oidc-secret}"
    assert found["use_pkce"] == "true"


def test_the_gateway_leads_there_only_by_its_name() -> None:
    assert not [each for each in manifests(plain()) if each.kind == "IngressRoute" and each.name == "grafana"]
    route = of(shown(), "IngressRoute", "grafana", "default").spec
    assert [each["match"] for each in route["routes"]] == [f"Host(`{HOST}`)"]
    assert route["entryPoints"] == ["websecure"]
    service = of(shown(), "Service", "grafana", "default").spec
    assert service["externalName"] == "grafana.observability.svc.cluster.local"
    flag = "--providers.kubernetesCRD.allowExternalNameServices=true"
    for found, there in ((plain(), False), (shown(), True)):
        (traefik,) = of(found, "Deployment", "traefik", "traefik").pod["spec"]["containers"]
        assert (flag in traefik["args"]) is there
        hosts = found.named("traefik-tls-certificate").inputs["names"]
        assert (HOST in hosts) is there


def test_it_may_be_asked_and_ask_only_what_it_needs() -> None:
    alone = policy(plain(), "grafana", "observability")
    assert alone["ingress"] == []
    assert peers(alone["egress"], "to") >= {("prometheus", 9090), ("kube-dns", 53)}
    assert {port for _, port in peers(alone["egress"], "to")} <= {9090, 53, 3100, 16686}
    named = policy(shown(), "grafana", "observability")
    assert peers(named["ingress"], "from") == {("traefik", 3000)}
    assert ("0.0.0.0/0", 443) in peers(named["egress"], "to")
    assert ("grafana", 3000) in peers(policy(shown(), "traefik", "traefik")["egress"], "to")
    assert ("grafana", 3000) not in peers(policy(plain(), "traefik", "traefik")["egress"], "to")


def test_its_pod_has_no_token_and_a_root_that_cannot_be_written() -> None:
    spec = pod(plain())
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsUser"] == 472
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("off", [{"enabled": False}, {"grafana": {"enabled": False}}], ids=["all", "grafana"])
def test_off_nothing_of_it_is_there(off: dict[str, Any]) -> None:
    config = copy.deepcopy(VALID) | {"observability": off, "autoscaling": {"enabled": False}}
    assert not [each for each in manifests(graph(parse(config))) if "grafana" in each.name]


def test_the_lab_cannot_have_its_image() -> None:
    assert not stack_settings("lab").observability.grafana.enabled
    assert not [each for each in manifests(stack_graph("lab")) if "grafana" in each.name]
