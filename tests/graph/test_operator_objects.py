"""A Prometheus Operator that is there already: none of our own Prometheus is left, and whoever asked it asks the operator's."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from components import network_policies, traffic
from components.observability.node_targets import NODE_TARGETS
from components.observability.operator_objects import PREFIX
from components.observability.scanned_images import unused
from components.observability.targets import TARGETS
from components.settings import Settings
from components.settings.operator import OURS
from components.settings.parse import parse
from components.settings.problem import SettingsError
from components.traffic import METRICS, Namespace, Pods, Way, tcp
from tests.support.manifests import Manifest, graph, manifests
from tests.support.settings import VALID

URL = "http://prometheus-operated.monitoring.svc:9090"
OPERATOR: dict[str, Any] = {"url": URL, "namespace": "monitoring", "labels": {"release": "theirs"}}
KINDS = ("PodMonitor", "ScrapeConfig", "PrometheusRule")
PATH = "observability.prometheus.operator"


def settings(
    operator: dict[str, Any] | None = None, prometheus: dict[str, Any] | None = None, **observability: Any
) -> Settings:
    config = copy.deepcopy(VALID)
    more = {"operator": OPERATOR if operator is None else operator, **(prometheus or {})}
    return parse({**config, "observability": {"prometheus": more, "grafana": {"enabled": True}, **observability}})


@pytest.fixture(scope="module")
def objects() -> list[Manifest]:
    return manifests(graph(settings()))


def named(objects: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {each.name: each for each in objects if each.kind == kind}


def test_there_is_an_object_for_everything_that_runs(objects: list[Manifest]) -> None:
    running = {(each.namespace, each.app) for each in traffic.workloads(settings())}
    there = {each.job for each in TARGETS if (each.namespace, each.app) in running} | {"coredns"}
    assert there < {each.job for each in TARGETS}, "nothing is asked for certificates or alerts here"
    assert named(objects, "PodMonitor").keys() == there
    assert named(objects, "ScrapeConfig").keys() == {each.job for each in NODE_TARGETS}
    assert named(objects, "PrometheusRule").keys() == {"autoscaling", "alerts"}
    for each in (each for each in objects if each.kind in KINDS):
        assert each.body["metadata"]["labels"]["release"] == "theirs"
        assert each.namespace == METRICS


def test_nothing_of_our_own_is_left(objects: list[Manifest]) -> None:
    assert [each.where for each in objects if each.name == "prometheus"] == []
    assert "prometheus" in unused(settings())
    alerts = json.dumps(named(objects, "PrometheusRule")["alerts"].spec)
    assert "prometheus_tsdb" not in alerts
    assert f'job=\\"{PREFIX}traefik' in alerts


def test_whoever_asked_it_asks_the_operators(objects: list[Manifest]) -> None:
    (adapter,) = named(objects, "Deployment")["prometheus-adapter"].containers()
    assert f"--prometheus-url={URL}" in adapter["args"]
    config = next(each for each in objects if each.kind == "ConfigMap" and each.name.startswith("grafana-config"))
    assert f"url: {URL}\n" in config.body["data"]["sources.yaml"]
    shown = next(each for each in objects if each.kind == "ConfigMap" and each.name.startswith("grafana-dashboards"))
    text = "".join(shown.body["data"].values())
    assert text.count(f'job=\\"{PREFIX}') == text.count('job=\\"') > 50
    assert "prometheus_tsdb" not in text


def test_only_its_namespace_is_let_in_and_asked() -> None:
    ways = traffic.ways(settings())
    theirs = Pods("monitoring", "prometheus", label="app.kubernetes.io/name")
    assert Way(theirs, traffic.TRAEFIK, tcp(9100)) in ways
    assert Way(traffic.ADAPTER, Namespace("monitoring"), ()) in ways
    assert not any(traffic.PROMETHEUS in (way.source, way.target) for way in ways)


def test_numbers_of_nodes_are_read_with_a_token_that_may_nothing_else(objects: list[Manifest]) -> None:
    secret = named(objects, "Secret")["node-metrics"]
    assert secret.body["type"] == "kubernetes.io/service-account-token"
    assert not {"data", "stringData"} & secret.body.keys()
    (role,) = [each for each in objects if each.kind == "ClusterRole" and each.name == f"{METRICS}:node-metrics"]
    assert role.body["rules"] == [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]


def test_its_account_is_given_rights_where_it_is_named(objects: list[Manifest]) -> None:
    def bound(found: list[Manifest]) -> set[str]:
        """Where the operator's account may do something."""
        subject = {"kind": "ServiceAccount", "name": "theirs", "namespace": "monitoring"}
        return {each.where for each in found if subject in each.body.get("subjects", [])}

    assert bound(objects) == set()
    found = bound(manifests(graph(settings({**OPERATOR, "serviceAccount": "theirs"}))))
    called = "prometheus-of-the-operator"
    spaces = ("default", "kube-system", "node-agents", "observability", "traefik")
    assert found == {f"ClusterRoleBinding /monitoring:{called}", *(f"RoleBinding {each}/{called}" for each in spaces)}


def test_the_programs_namespaces_are_known() -> None:
    assert OURS == network_policies.NAMESPACES


@pytest.mark.parametrize(
    ("operator", "prometheus", "observability", "said"),
    [
        (
            OPERATOR | {"namespace": "observability"},
            {},
            {},
            f"{PATH}.namespace: `observability`; pods of others may not talk in the program's own namespaces."
            " Move it to another.",
        ),
        (
            OPERATOR,
            {"remoteWrite": {"url": "https://metrics.example.com/write"}},
            {},
            f"observability.prometheus.remoteWrite: set with `{PATH}`; the operator's Prometheus writes where its own object"
            " says. Set it there and remove it here.",
        ),
        (
            OPERATOR,
            {},
            {"alerting": {"receivers": {"a": {"kind": "slack"}}}},
            f"observability.alerting: set with `{PATH}`; the operator's Prometheus tells its own Alertmanager. Route alerts"
            " there, by their label `severity`, and remove receivers and heartbeat here.",
        ),
    ],
)
def test_what_is_refused(
    operator: dict[str, Any], prometheus: dict[str, Any], observability: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as error:
        settings(operator, prometheus, **observability)
    assert [str(problem) for problem in error.value.problems] == [said]


def test_switched_off_with_everything_else() -> None:
    config = copy.deepcopy(VALID)
    off = {"enabled": False, "prometheus": {"operator": OPERATOR}, "alerting": {"receivers": {"a": {"kind": "slack"}}}}
    found = manifests(graph(parse({**config, "autoscaling": {"enabled": False}, "observability": off})))
    assert [each.where for each in found if each.kind in KINDS] == []
