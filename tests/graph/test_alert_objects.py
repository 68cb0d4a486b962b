"""The alerts reach Prometheus' pod, follow the stack config, and their pages name objects that exist."""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.observability import layer
from components.settings.parse import parse
from components.settings.stack_file import stack_settings
from tests.support.graph import Graph
from tests.support.manifests import WORKLOADS, Manifest, graph, manifests, stack_graph
from tests.support.settings import VALID

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs/runbooks"
STACKS = [stack for stack in ("prod", "lab", "small") if stack_settings(stack).observability.enabled]
# Of Kubernetes itself and of the layer below, so not in these graphs.
NAMESPACES = {"default", "kube-system", "kube-flannel"}
KUBEADM = {("deployment", "kube-system", "coredns")}


def build(**over: Any) -> list[Manifest]:
    return manifests(graph(parse({**copy.deepcopy(VALID), **over})))


def files(objects: list[Manifest]) -> dict[str, str]:
    (config,) = [each for each in objects if each.kind == "ConfigMap" and "prometheus.yml" in each.body.get("data", {})]
    found: dict[str, str] = config.body["data"]
    return found


def names(objects: list[Manifest]) -> set[str]:
    rules = yaml.safe_load(files(objects)["alerts.yml"])
    return {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}


@pytest.mark.parametrize("stack", STACKS)
def test_prometheus_is_given_every_file_that_its_configuration_names(stack: str) -> None:
    objects = manifests(stack_graph(stack))
    data = files(objects)
    (pod,) = [each.pod["spec"] for each in objects if each.kind == "StatefulSet" and each.name == "prometheus"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "config"]
    named = yaml.safe_load(data["prometheus.yml"])["rule_files"]
    assert named == [f"{mount['mountPath']}/{file}" for file in ("autoscaling.yml", "alerts.yml")]
    assert set(data) == {"prometheus.yml", *(Path(file).name for file in named)}
    (volume,) = [each["configMap"]["name"] for each in pod["volumes"] if each["name"] == "config"]
    assert volume.startswith("prometheus-config")


def test_a_worker_more_does_not_make_another_prometheus() -> None:
    """Another content would be another pod, which starts without samples."""
    more = [*copy.deepcopy(VALID["nodes"]), {"name": "gpu-3", "address": "192.168.1.23", "role": "worker", "gpus": 2}]
    assert files(build()) == files(build(nodes=more))


def test_the_alerts_are_those_of_the_stack() -> None:
    everything = names(build())
    assert {"EngineDown", "GpuMissing", "NoReplicaReady", "AvailabilityBudgetBurn"} <= everything
    assert {"EngineDown", "FirstTokenSlow"} & names(build(inference={"engine": "tensorrt-llm"})) == set()
    for gpu in ({"driver": {"owner": "operator"}}, {"dcgmExporter": False}):
        assert not {each for each in names(build(gpu=gpu, autoscaling={"gpuUtilization": 0})) if each.startswith("Gpu")}


def test_the_objective_is_in_the_rules() -> None:
    objective = {"availabilityPercent": 99, "latencySeconds": 3, "latencyPercent": 97, "firstTokenSeconds": 1.5}
    text = files(build(observability={"objective": objective, "runbookUrl": "https://git.example.com/r"}))["alerts.yml"]
    rules = {
        (rule["alert"], rule["labels"].get("long", "")): rule
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert "> 0.144 and" in rules["AvailabilityBudgetBurn", "1h"]["expr"]
    assert "> 0.18 and" in rules["LatencyBudgetBurn", "6h"]["expr"]
    assert rules["FirstTokenSlow", ""]["expr"].endswith("> 1.5")
    assert 'le="3.0"' in text
    assert rules["Watchdog", ""]["annotations"]["runbook_url"] == "https://git.example.com/r/Watchdog.md"


def test_the_bounds_of_replicas_are_those_of_the_autoscaler() -> None:
    def expr(**over: Any) -> str:
        rules = yaml.safe_load(files(build(**over))["alerts.yml"])
        found = [rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == "ReplicasMissing"]
        return str(found[0]["expr"])

    assert expr().endswith("< 2")
    assert expr(autoscaling={"minReplicas": 1}).endswith("< 1")


@cache
def ordered() -> Graph:
    """A stack that orders its certificate, and tells somebody of alerts."""
    acme = {"email": "ops@acme-test.org", "directory": "https://ca.acme-test.org/dir"}
    ingress = {"host": "chat.acme-test.org", "tls": {"kind": "acme", "acme": acme}}
    told = {"alerting": {"receivers": {"oncall": {"kind": "dingtalk"}}, "heartbeat": True}, "logs": {"enabled": True}}
    return graph(parse(copy.deepcopy(VALID) | {"ingress": ingress, "observability": told}))


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_names_objects_that_exist(page: Path) -> None:
    objects = manifests(stack_graph("prod")) + manifests(ordered())
    namespaces = NAMESPACES | {each.name for each in objects if each.kind == "Namespace"}
    here = {(each.kind.lower(), each.namespace, each.name) for each in objects}
    hpa = {("hpa", each.namespace, each.name) for each in objects if each.kind == "HorizontalPodAutoscaler"}
    apps = {
        (each.namespace, each.pod["metadata"]["labels"]["app"])
        for each in objects
        if each.kind in (*WORKLOADS, "CronJob")
    }
    containers = {
        container["name"] for each in objects if each.kind in (*WORKLOADS, "CronJob") for container in each.containers()
    }
    for command in re.findall(r"kubectl (-n [^\n`|]+)", page.read_text()):
        namespace = command.split()[1]
        if namespace == "NAMESPACE":
            continue  # a label of the alert; so are all names after it
        assert namespace in namespaces, command
        for kind, name in re.findall(r"\b(deployment|daemonset|statefulset|service|hpa)[/ ]([a-z0-9-]+)", command):
            assert (kind, namespace, name) in here | hpa | KUBEADM, command
        for app in re.findall(r"-l app=([a-z0-9-]+)", command):
            assert (namespace, app) in apps, command
        for container in re.findall(r" -c ([a-z]+)", command):
            assert container in containers | {"etcd"}, command


def test_the_engines_metrics_are_read_where_the_alerts_look() -> None:
    watched = layer.watched(stack_settings("prod"))
    assert watched.vllm
    assert watched.start_seconds == stack_settings("prod").inference.step_seconds
