"""A node that is off is unknown, and stops nobody else."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.test_1_build import kubectl
from tests.support.lab import Lab
from tests.support.stack import Stack


@pytest.fixture
def without_power(lab: Lab) -> Iterator[str]:
    lab.run("kill", "storage-1")
    yield "storage-1"
    lab.run("start", "storage-1")


def test_preview_and_an_unrelated_up_go_on_and_name_the_unknown_node(stack: Stack, without_power: str) -> None:
    preview = stack.preview("--expect-no-changes").ok()
    assert [line for line in preview.messages if line.startswith(f"{without_power}: unknown")]

    edited = copy.deepcopy(stack)
    edited.config["config"]["qwen3-vl:autoscaling"] = {"cpuPercent": 300}
    up = edited.up().ok()
    assert up.changes(), "the edit must change something"
    assert not [name for name in up.changes() if name.startswith(without_power)]
    assert [line for line in up.messages if line.startswith(f"{without_power}: unknown")]
    stack.up().ok()


@pytest.mark.chaos
def test_copies_that_change_while_a_worker_is_dead_hold_up_nobody(stack: Stack, lab: Lab) -> None:
    def ready() -> str:
        return kubectl(lab, "get node gpu-2 -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].status}'").strip()

    edited = copy.deepcopy(stack)
    edited.config["config"].setdefault("qwen3-vl:modelStore", {})["reservePercent"] = 2
    lab.run("kill", "gpu-2")
    try:
        wait_until(lambda: ready() != "True", 120)
        up = edited.up().ok()
        assert up.changes() == {"model-cache": "update", "model-cache-filled": "update"}
        assert [line for line in up.messages if line.startswith("gpu-2: not ready")]
    finally:
        lab.run("start", "gpu-2")
    wait_until(lambda: ready() == "True", 180)
    assert edited.preview().ok().changes() == {"model-cache-filled": "update"}, (
        "what was passed over is looked at again"
    )
    edited.up().ok()
    edited.preview("--expect-no-changes").ok()
    stack.up().ok()
    stack.preview("--expect-no-changes").ok()


def wait_until(so: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, f"not so within {seconds:.0f} s"
        time.sleep(2)
