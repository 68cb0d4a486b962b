"""The autoscaler and its metrics fit together, and fit the Deployment; each name is written once in two layers."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from components.inference import autoscaling
from components.observability import layer, prometheus_config, targets
from components.settings import Settings
from components.settings.parse import parse
from components.settings.stack_file import stack_settings
from components.traffic import AGENTS
from tests.support.manifests import (
    CERTIFICATE_KEY,
    STACKS,
    WORKLOADS,
    Manifest,
    graph,
    manifests,
    stack_graph,
)
from tests.support.settings import VALID

# The exporter is somebody else's; there is one Redis; nothing is scanned, ordered, told or followed; kubeadm has brought it.
OPTIONAL = (
    *(targets.GPUS, targets.SESSIONS, targets.IMAGES, targets.ISSUER, targets.ALERTMANAGER, targets.ALERT_RELAY),
    *(targets.TRACES, targets.DNS, targets.LOGS, targets.COLLECTORS),
)
SCALING = [stack for stack in STACKS if stack_settings(stack).autoscaling.enabled]


def one(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [each for each in objects if (each.kind, each.name) == (kind, name)]
    return found


@pytest.fixture(params=SCALING)
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return manifests(stack_graph(request.param))


def with_gpus(gpus: int, **over: Any) -> Settings:
    """The valid config with so many GPUs in its first worker, none in the second."""
    nodes = [dict(node) for node in VALID["nodes"]]
    nodes[3]["gpus"], nodes[4]["gpus"] = gpus, 0
    return parse({**VALID, "nodes": nodes, **over})


@pytest.mark.parametrize(
    ("gpus", "over", "fewest", "most"),
    [
        (2, {}, 2, 2),
        (4, {}, 2, 4),
        (8, {}, 2, 5),  # the manual's most
        (8, {"autoscaling": {"maxReplicas": 8}}, 2, 8),
        (8, {"autoscaling": {"minReplicas": 1}}, 1, 5),
        (8, {"inference": {"replicas": 6}}, 6, 6),
    ],
)
def test_bounds(gpus: int, over: dict[str, Any], fewest: int, most: int) -> None:
    hpa = one(manifests(graph(with_gpus(gpus, **over))), "HorizontalPodAutoscaler", "qwen3-vl-hpa").spec
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (fewest, most)


def test_the_manuals_targets() -> None:
    hpa = one(manifests(stack_graph("prod")), "HorizontalPodAutoscaler", "qwen3-vl-hpa").spec
    by_type = {metric["type"]: metric for metric in hpa["metrics"]}
    assert by_type["Resource"]["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 70},
    }
    assert by_type["External"]["external"]["metric"] == {"name": "gpu_utilization"}
    assert by_type["External"]["external"]["target"] == {"type": "AverageValue", "averageValue": "80"}
    assert by_type.keys() == {"Resource", "External", "Pods"}


def test_the_gpu_signal_can_be_left_out() -> None:
    spec = one(
        manifests(graph(with_gpus(4, autoscaling={"gpuUtilization": 0}))), "HorizontalPodAutoscaler", "qwen3-vl-hpa"
    )
    assert [metric["type"] for metric in spec.spec["metrics"]] == ["Resource", "Pods"]


@pytest.mark.parametrize(("value", "text"), [(8.0, "8"), (0.8, "800m"), (1.25, "1250m"), (4096, "4096")])
def test_quantities_are_as_the_api_server_writes_them(value: float, text: str) -> None:
    assert autoscaling.quantity(value) == text


def test_the_autoscaler_scales_the_deployment_which_keeps_its_hands_off(objects: list[Manifest]) -> None:
    hpa = one(objects, "HorizontalPodAutoscaler", "qwen3-vl-hpa")
    target = hpa.spec["scaleTargetRef"]
    deployment = one(objects, target["kind"], target["name"])
    assert deployment.namespace == hpa.namespace
    assert deployment.resource.ignore_changes == ("spec.replicas",)
    assert hpa.spec["minReplicas"] <= deployment.spec["replicas"] <= hpa.spec["maxReplicas"]


def test_without_an_autoscaler_the_config_says_the_number_and_alerts_go_on() -> None:
    objects = manifests(graph(with_gpus(4, autoscaling={"enabled": False}, inference={"replicas": 3})))
    deployment = one(objects, "Deployment", "qwen3-vl-webui")
    assert deployment.resource.ignore_changes == ()
    assert deployment.spec["replicas"] == 3
    assert not [each for each in objects if each.kind in ("HorizontalPodAutoscaler", "APIService")]
    there = {each.name for each in objects if each.kind == "Service" and each.namespace == layer.NAMESPACE}
    assert "prometheus" in there
    assert not there & {"prometheus-adapter", "metrics-server"}


def test_without_observability_nothing_is_collected() -> None:
    off = {"enabled": False}
    objects = manifests(graph(with_gpus(4, autoscaling=off, observability=off, inference={"replicas": 3})))
    assert not [each for each in objects if each.namespace in (layer.NAMESPACE, AGENTS)]


def test_a_gpu_is_spare_only_beyond_the_most_replicas() -> None:
    def surge(gpus: int) -> tuple[int, int]:
        deployment = one(manifests(graph(with_gpus(gpus))), "Deployment", "qwen3-vl-webui")
        update = deployment.spec["strategy"]["rollingUpdate"]
        return update["maxSurge"], update["maxUnavailable"]

    assert surge(4) == (0, 1)  # all four may be taken when the update comes
    assert surge(6) == (1, 0)


def test_scaling_in_is_slower_than_scaling_out(objects: list[Manifest]) -> None:
    behaviour = one(objects, "HorizontalPodAutoscaler", "qwen3-vl-hpa").spec["behavior"]
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] > behaviour["scaleUp"]["stabilizationWindowSeconds"]
    assert [policy["value"] for policy in behaviour["scaleDown"]["policies"]] == [1]


def test_every_metric_that_is_asked_for_is_served_and_computed(objects: list[Manifest]) -> None:
    hpa = one(objects, "HorizontalPodAutoscaler", "qwen3-vl-hpa").spec
    wanted = {
        metric[kind]["metric"]["name"]: api
        for metric in hpa["metrics"]
        for kind, api in (("pods", "custom.metrics.k8s.io"), ("external", "external.metrics.k8s.io"))
        if kind in metric
    }
    assert wanted == {
        autoscaling.IN_FLIGHT: "custom.metrics.k8s.io",
        autoscaling.GPU_UTILIZATION: "external.metrics.k8s.io",
    }
    configs = [
        each.body.get("data", {}) for each in objects if each.kind == "ConfigMap" and each.namespace == layer.NAMESPACE
    ]
    served = yaml.safe_load(
        next(data["config.yaml"] for data in configs if "externalRules" in data.get("config.yaml", ""))
    )
    rules = yaml.safe_load(next(data["autoscaling.yml"] for data in configs if "autoscaling.yml" in data))
    recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"]}
    assert {each["name"]["as"] for each in served["rules"]} == {autoscaling.IN_FLIGHT} & recorded
    assert {each["name"]["as"] for each in served["externalRules"]} == {autoscaling.GPU_UTILIZATION} & recorded
    assert (prometheus_config.IN_FLIGHT, prometheus_config.GPU_UTILIZATION) == (
        autoscaling.IN_FLIGHT,
        autoscaling.GPU_UTILIZATION,
    )


def test_each_api_leads_to_a_server_whose_certificate_is_trusted_and_nothing_else(objects: list[Manifest]) -> None:
    apis = [each for each in objects if each.kind == "APIService"]
    assert {each.name for each in apis} == {
        "v1beta1.metrics.k8s.io",
        "v1beta2.custom.metrics.k8s.io",
        "v1beta1.external.metrics.k8s.io",
    }
    for each in apis:
        assert not each.spec.get("insecureSkipTLSVerify")
        assert each.spec["caBundle"]
        assert each.body["metadata"]["annotations"]["pulumi.com/waitFor"] == "condition=Available"
        reference = each.spec["service"]
        service = one(objects, "Service", reference["name"])
        assert service.namespace == reference["namespace"]
        assert reference["port"] in [port["port"] for port in service.spec["ports"]]


@pytest.mark.parametrize("stack", SCALING)
def test_certificates_name_their_service_and_their_keys_stay_secret(stack: str) -> None:
    found = stack_graph(stack)
    names = {each.name: each.inputs["names"] for each in found.of_type("host:index:ServingCertificate")}
    assert names == {
        f"{server}-certificate": [f"{server}.{layer.NAMESPACE}.svc"]
        for server in ("metrics-server", "prometheus-adapter")
    }
    holders = [
        each
        for each in manifests(found)
        if each.kind == "Secret" and each.namespace == layer.NAMESPACE and each.body.get("type") == "kubernetes.io/tls"
    ]
    assert [each.body["stringData"] for each in holders] == ["[secret]"] * 2
    assert all(CERTIFICATE_KEY not in str(each.body) for each in manifests(found))


def test_every_target_is_a_port_of_a_pod_and_its_namespace_may_be_read(objects: list[Manifest]) -> None:
    readable = {each.namespace for each in objects if each.kind == "Role" and each.name == "prometheus"}
    for target in targets.TARGETS:
        assert target.namespace in readable, target
        found = [
            each for each in objects if each.kind in WORKLOADS and each.pod["metadata"]["labels"]["app"] == target.app
        ]
        if target in OPTIONAL and not found:
            continue
        (workload,) = found
        assert workload.namespace == target.namespace
        assert target.port in [port["name"] for container in workload.containers() for port in container["ports"]]


def test_the_gpu_rule_counts_pods_by_the_name_of_the_deployment(objects: list[Manifest]) -> None:
    pattern = re.search(r'pod=~"([^"]+)"', prometheus_config.rules_yaml(60))
    assert pattern
    deployment = one(objects, "Deployment", "qwen3-vl-webui").name
    assert re.fullmatch(pattern[1], f"{deployment}-7c9d8bfb5c-x2x4z")
    assert not re.fullmatch(pattern[1], "other-7c9d8bfb5c-x2x4z")
