"""What keeps pods off sick nodes: nothing unless asked for, then exactly these rights."""

from __future__ import annotations

import copy
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
from gpu_health.__main__ import parser

from components.settings.parse import parse
from components.versions import IMAGES
from tests.policy import availability, pods, rights
from tests.policy.exceptions import ALLOWED
from tests.policy.findings import findings, violations
from tests.support.graph import Graph
from tests.support.manifests import Manifest, graph, manifests, stack_graph
from tests.support.settings import VALID

NAME = "gpu-health"
SHARED = {"timeSlicing": {"replicas": 2}}
INFERENCE = {"gpuMemoryUtilization": 0.45, "dtype": "fp8", "replicas": 4}


def build(gpu: dict[str, Any]) -> Graph:
    config = copy.deepcopy(VALID) | {"gpu": gpu, "inference": INFERENCE}
    config["nodes"][4]["gpus"] = 3
    return graph(parse(config))


def mine(found: Graph) -> dict[str, Manifest]:
    return {each.kind: each for each in manifests(found) if "gpu-health" in each.name}


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    for stack in ("lab", "prod", "small"):
        assert mine(stack_graph(stack)) == {}
    without = {each.where: each.body for each in manifests(build(SHARED))}
    with_it = {each.where: each.body for each in manifests(build(SHARED | {"taintSickNodes": True}))}
    assert all(with_it[where] == body for where, body in without.items())
    assert {where.split()[0] for where in with_it.keys() - without.keys()} == {
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
        "NetworkPolicy",
    }


def test_it_may_read_and_patch_the_gpu_nodes_and_nothing_else() -> None:
    found = mine(build(SHARED | {"taintSickNodes": True}))
    assert found["ClusterRole"].body["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"], "resourceNames": ["gpu-1", "gpu-2"]}
    ]
    binding = found["ClusterRoleBinding"].body
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "kube-system"}]
    assert binding["roleRef"]["name"] == found["ClusterRole"].name
    assert found["Deployment"].pod["spec"]["serviceAccountName"] == found["ServiceAccount"].name == NAME


def test_its_own_program_reads_what_it_is_told() -> None:
    (container,) = mine(build(SHARED | {"taintSickNodes": True}))["Deployment"].containers()
    assert container["command"] == ["python", "-m", "gpu_health"]
    assert container["image"] == IMAGES["model-cache"].reference
    said = parser().parse_args(container["args"])
    assert dict(said.node) == {"gpu-1": 2, "gpu-2": 6}, "GPUs, as often as each is shared"
    assert (said.look_seconds, said.patience_seconds) == (15, 60)


def test_its_pod_is_restricted_and_leaves_a_dead_node() -> None:
    found = mine(build(SHARED | {"taintSickNodes": True}))
    for each in found.values():
        kubernetes_validate.validate(each.body, "1.34", strict=True)
    pod = found["Deployment"].pod["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any(pod.get(field) for field in ("hostNetwork", "hostPID", "hostIPC", "volumes"))
    assert {each["tolerationSeconds"] for each in pod["tolerations"]} == {20}
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys()
    assert found["Deployment"].spec["replicas"] == 1


def test_it_breaks_no_safety_rule_but_that_it_holds_a_token() -> None:
    """It asks the API. The checked-in stacks leave it off, so an exception in the policy's list would be one for nothing."""
    rules = (*availability.RULES, *pods.RULES, *rights.RULES)
    found = violations(findings(build(SHARED | {"taintSickNodes": True}), rules), ALLOWED)
    assert [(each.resource, each.rule) for each in found if NAME in each.resource] == [
        (f"Deployment {NAME}", "tokens_are_mounted_only_where_the_api_is_used")
    ]


def test_whoever_owns_the_driver() -> None:
    config = copy.deepcopy(VALID) | {
        "gpu": {"driver": {"owner": "operator"}, "taintSickNodes": True},
        "autoscaling": {"gpuUtilization": 0},
    }
    assert "Deployment" in mine(graph(parse(config)))
