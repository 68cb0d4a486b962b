"""A worker is added and removed by editing the list; nobody else is touched."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.cluster.test_1_build import kubectl
from tests.support.lab import Lab
from tests.support.stack import Result, Stack


@pytest.fixture
def third_worker(stack: Stack, lab: Lab) -> Iterator[Stack]:
    """The stack with one more worker in its list, on a machine that is bare."""
    lab.run("add", "gpu-3", "worker", "--gpus", "1")
    address = next(n["address"] for n in lab.status()["nodes"] if n["name"] == "gpu-3")
    nodes = copy.deepcopy(stack.setting("nodes"))
    yield stack.with_nodes([*nodes, {"name": "gpu-3", "address": address, "role": "worker", "gpus": 1}])
    lab.run("remove", "gpu-3")


# One GPU more or less is room for the autoscaler, and a rollout with a spare GPU or without; and the policies of metrics-server
# and Prometheus name each node: four objects follow, no pod does.
FOLLOWS = {"qwen3-vl", "qwen3-vl-hpa", "observability-metrics-server", "observability-prometheus"}


def elsewhere(result: Result) -> set[str]:
    """What changed that is not the third worker's."""
    return {name for name in result.changes() if not name.startswith("gpu-3")} - FOLLOWS


def audits(lab: Lab, stack: Stack) -> dict[str, list[str]]:
    return {node["name"]: lab.audit(node["name"]) for node in stack.setting("nodes") if node["role"] != "storage"}


def test_adding_and_removing_a_worker_changes_nothing_elsewhere(stack: Stack, lab: Lab, third_worker: Stack) -> None:
    before = audits(lab, stack)
    assert any(before.values()), "the nodes' journals must show what the first build changed"

    added = third_worker.up().ok()
    assert elsewhere(added) == set(), [added.changes(), added.messages]
    assert "gpu-3" in kubectl(lab, "get nodes -o name")
    assert audits(lab, stack) == before
    third_worker.preview("--expect-no-changes").ok()

    removed = stack.up().ok()
    assert {op for name, op in removed.changes().items() if name not in FOLLOWS} == {"delete"}, removed.changes()
    assert elsewhere(removed) == set()
    assert "gpu-3" not in kubectl(lab, "get nodes -o name")
    assert audits(lab, stack) == before
    assert "no" in lab.shell("gpu-3", "test -e /etc/kubernetes/kubelet.conf && echo yes || echo no")


@pytest.mark.chaos
def test_a_dead_worker_is_cleaned_up_from_the_api_side(stack: Stack, lab: Lab, third_worker: Stack) -> None:
    third_worker.up().ok()
    lab.run("kill", "gpu-3")
    removed = stack.up().ok()
    assert elsewhere(removed) == set()
    assert "gpu-3" not in kubectl(lab, "get nodes -o name")
    assert [line for line in removed.messages if line.startswith("gpu-3: ")], "the run must say what it skipped"
    stack.preview("--expect-no-changes").ok()
