"""What the cluster gets for its GPUs, by who owns the driver and how a GPU is shared."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from components.naming import token
from components.settings.parse import parse
from tests.support.graph import Graph
from tests.support.manifests import graph, manifests, stack_graph
from tests.support.settings import VALID

ALLOCATABLE = "host:index:Allocatable"


def build(over: dict[str, Any]) -> Graph:
    return graph(parse({**copy.deepcopy(VALID), **over}))


def objects(found: Graph) -> set[tuple[str, str]]:
    return {(each.kind, each.name) for each in manifests(found)}


@pytest.mark.parametrize("stack", ["prod", "lab"])
def test_the_model_server_waits_until_every_gpu_node_has_its_gpus(stack: str) -> None:
    found = stack_graph(stack)
    waited = {each.name for each in found.of_type(ALLOCATABLE)}
    assert waited == {"gpu-1-allocatable", "gpu-2-allocatable"}
    (server,) = found.of_type(token("inference", "ModelServer"))
    assert waited <= {found.by_urn[urn].name for urn in server.dependencies if urn in found.by_urn}


def test_nodes_are_judged_by_what_they_are_declared_with() -> None:
    nodes = copy.deepcopy(VALID)["nodes"]
    nodes[3]["gpus"], nodes[4]["gpus"] = 4, 0
    found = build({"nodes": nodes, "gpu": {"allocatableSeconds": 60}})
    (only,) = found.of_type(ALLOCATABLE)
    assert (only.inputs["node"], only.inputs["amount"], only.inputs["deadlineSeconds"]) == ("gpu-1", 4, 60)
    assert [peer["node"] for peer in only.inputs["peers"]] == ["master-1", "master-2", "master-3"]
    assert "gpu-plugin" in found.dependency_names(only.name)


def test_a_shared_gpu_counts_as_often_as_it_is_shared() -> None:
    found = build(
        {
            "gpu": {"timeSlicing": {"replicas": 2}},
            "inference": {"gpuMemoryUtilization": 0.45, "dtype": "fp8", "replicas": 4},
        }
    )
    assert {each.inputs["amount"] for each in found.of_type(ALLOCATABLE)} == {2}
    (config,) = [each for each in manifests(found) if each.kind == "ConfigMap" and "plugin" in each.name]
    sharing = yaml.safe_load(config.body["data"]["config.yaml"])["sharing"]["timeSlicing"]
    assert sharing == {
        "failRequestsGreaterThanOne": True,
        "resources": [{"name": "nvidia.com/gpu", "replicas": 2}],
    }


def test_an_unshared_gpu_has_no_sharing_configured() -> None:
    (config,) = [each for each in manifests(stack_graph("prod")) if each.kind == "ConfigMap" and "plugin" in each.name]
    assert "sharing" not in yaml.safe_load(config.body["data"]["config.yaml"])


def test_the_operator_brings_everything_and_the_gpus_are_still_waited_for() -> None:
    found = build({"gpu": {"driver": {"owner": "operator"}}, "autoscaling": {"gpuUtilization": 0}})
    assert not [name for _, name in objects(found) if "nvidia" in name or "dcgm" in name]
    waited = found.of_type(ALLOCATABLE)
    assert len(waited) == 2
    assert all("GPU operator" in each.inputs["remedy"] for each in waited)


def test_the_exporter_can_be_left_out() -> None:
    wanted = {("DaemonSet", "nvidia-device-plugin"), ("DaemonSet", "dcgm-exporter"), ("RuntimeClass", "nvidia")}
    assert wanted <= objects(build({}))
    assert objects(build({"gpu": {"dcgmExporter": False}, "autoscaling": {"gpuUtilization": 0}})) & wanted == wanted - {
        ("DaemonSet", "dcgm-exporter")
    }


def test_what_is_scraped_has_a_port_of_that_name() -> None:
    (exporter,) = [
        each for each in manifests(stack_graph("prod")) if (each.kind, each.name) == ("DaemonSet", "dcgm-exporter")
    ]
    assert exporter.pod["metadata"]["labels"]["app"] == "dcgm-exporter"
    (container,) = exporter.containers()
    assert container["ports"] == [{"name": "metrics", "containerPort": 9400, "protocol": "TCP"}]
