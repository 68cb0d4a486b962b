"""Alertmanager's objects: none without a receiver, secret where they hold secrets, and Prometheus knows them."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import yaml

from components.settings.parse import parse
from tests.support.graph import Graph, Secret
from tests.support.manifests import ALERT_KEY, ALERT_URL, Manifest, graph, manifests, stack_graph
from tests.support.settings import VALID

TOLD = {
    "heartbeat": True,
    "receivers": {"team": {"kind": "slack"}, "ding": {"kind": "dingtalk"}, "fei": {"kind": "feishu"}},
}


@cache
def built() -> Graph:
    return graph(parse({**copy.deepcopy(VALID), "observability": {"alerting": TOLD}}))


def of(found: Graph, kind: str) -> list[Manifest]:
    return [each for each in manifests(found) if each.kind == kind and each.name.startswith("alertmanager")]


def prometheus(found: Graph) -> dict[str, Any]:
    (config,) = [e for e in manifests(found) if e.kind == "ConfigMap" and "prometheus.yml" in e.body.get("data", {})]
    document: dict[str, Any] = yaml.safe_load(config.body["data"]["prometheus.yml"])
    return document


@pytest.mark.parametrize("stack", ["lab", "prod", "small"])
def test_nothing_is_made_while_nobody_is_told(stack: str) -> None:
    found = stack_graph(stack)
    assert not [each for each in manifests(found) if each.name.startswith("alertmanager")]


def test_prometheus_tells_every_pod_and_drops_its_own_name() -> None:
    alerting = prometheus(built())["alerting"]
    assert alerting["alert_relabel_configs"] == [{"regex": "replica", "action": "labeldrop"}]
    (found,) = alerting["alertmanagers"]
    assert found["kubernetes_sd_configs"][0]["selectors"] == [{"role": "pod", "label": "app=alertmanager"}]
    assert "alerting" not in prometheus(graph(parse(copy.deepcopy(VALID))))


def test_a_pair_that_is_kept_apart_with_a_budget() -> None:
    (workload,) = of(built(), "StatefulSet")
    assert workload.spec["replicas"] == 2
    assert workload.pod["spec"]["affinity"]["podAntiAffinity"]
    (budget,) = of(built(), "PodDisruptionBudget")
    assert budget.spec["maxUnavailable"] == 1
    own, relay = workload.containers()
    assert "--receiver=ding=dingtalk" in relay["args"]
    assert {mount["name"] for mount in relay["volumeMounts"]} == {"relay"}
    assert {mount["name"] for mount in own["volumeMounts"]} == {"data", "files"}


def test_secrets_are_secret_and_each_container_has_its_own() -> None:
    found = [
        each for each in built().resources if each.type.endswith(":Secret") and each.name.startswith("alertmanager-")
    ]
    files = {each.name: each.inputs["stringData"] for each in found}
    assert {name: set(each.value) for name, each in files.items()} == {
        "alertmanager-files": {"alertmanager.yml", "url-team", "heartbeat-url"},
        "alertmanager-relay": {"url-ding", "sign-ding", "url-fei", "sign-fei"},
    }
    assert all(isinstance(each, Secret) for each in files.values())
    for each in manifests(built()):
        if each.kind != "Secret":
            assert ALERT_URL not in str(each.body)
            assert ALERT_KEY not in str(each.body)


def test_what_belongs_to_it_is_below_it() -> None:
    (component,) = [each for each in built().resources if each.type == "qwenvl:observability:Alertmanager"]
    mine = [each for each in built().resources if each.parent == component.urn]
    assert {each.type.rpartition(":")[2] for each in mine} == {
        "Secret",
        "Service",
        "StatefulSet",
        "PodDisruptionBudget",
    }
