"""The number of replicas follows the load, holds without metrics, and is nobody else's business.

A third GPU worker gives it room. Stabilisation is shortened; the two signals that decide are in flight and GPU, because the
lab's requests for CPU are a tenth of the real ones.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.test_1_build import kubectl
from tests.cluster.test_8_replicas import wait_until_whole
from tests.support.lab import Lab
from tests.support.load import Load
from tests.support.stack import Stack
from tools import ask

# The stand-in computes some 0.5 s for the 64 tokens of an answer. One request a second and replica keeps its GPU busy half of the
# time, three keep it busy all the time; so 1 in flight and 80 % lie between the two, for the lab's two replicas.
USUAL, STEP = 2.0, 6.0
SCALING = {"cpuPercent": 1000, "requestsInFlight": 1, "windowSeconds": 20, "scaleInSeconds": 30}
# The autoscaler looks every 15 s; two looks, the window of the averages and the one for scaling in, and a look more.
HELD_SECONDS = 20 + 30 + 3 * 15
QUESTION = " ".join(["What is to be seen here, and what is it made of?"] * 8)


@pytest.fixture
def roomy(stack: Stack, lab: Lab) -> Iterator[Stack]:
    """The stack with a third GPU worker and quick stabilisation; put back afterwards."""
    lab.run("add", "gpu-3", "worker", "--gpus", "1")
    address = next(n["address"] for n in lab.status()["nodes"] if n["name"] == "gpu-3")
    worker = {"name": "gpu-3", "address": address, "role": "worker", "gpus": 1}
    other = stack.with_nodes([*copy.deepcopy(stack.setting("nodes")), worker])
    other.config["config"]["qwen3-vl:autoscaling"] = SCALING
    try:
        other.up().ok()
        yield other
    finally:
        stack.up().ok()
        lab.run("remove", "gpu-3")
    wait_until_whole(lab, stack)


def question(stack: Stack) -> Callable[[], str]:
    outputs = stack.outputs()
    return lambda: ask.ask(ask.Service.of(outputs), QUESTION)


def hpa(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl(lab, "get hpa qwen3-vl-hpa -o json"))
    return found


def replicas(lab: Lab) -> tuple[int, int]:
    """Wanted and ready."""
    found = json.loads(kubectl(lab, "get deployment qwen3-vl-webui -o json"))
    return found["spec"]["replicas"], found["status"].get("readyReplicas", 0)


def condition(found: dict[str, Any], kind: str) -> dict[str, str]:
    return next((each for each in found["status"].get("conditions", ()) if each["type"] == kind), {})


def known_metrics(found: dict[str, Any]) -> set[str]:
    """The types of the metrics that the autoscaler has a value of."""
    return {each["type"] for each in found["status"].get("currentMetrics") or () if each["type"]}


def wait_for(what: str, true: Callable[[], bool], lab: Lab, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}\n{kubectl(lab, 'describe hpa qwen3-vl-hpa')}")
        time.sleep(3)


def stays(size: int, lab: Lab, seconds: float) -> None:
    """Fails as soon as another number of replicas is wanted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert replicas(lab)[0] == size, kubectl(lab, "describe hpa qwen3-vl-hpa")
        time.sleep(3)


def owners_of_replicas(lab: Lab) -> list[str]:
    fields = json.loads(kubectl(lab, "get deployment qwen3-vl-webui -o json --show-managed-fields"))["metadata"][
        "managedFields"
    ]
    return [each["manager"] for each in fields if "f:replicas" in each["fieldsV1"].get("f:spec", {})]


@pytest.mark.chaos
def test_replicas_follow_the_load_and_hold_without_metrics(roomy: Stack, lab: Lab) -> None:
    wait_until_whole(lab, roomy)
    with Load(question(roomy), USUAL) as load:
        wait_for("a value of every metric", lambda: known_metrics(hpa(lab)) == {"Resource", "External", "Pods"}, lab)
        assert hpa(lab)["spec"]["maxReplicas"] == 3
        stays(2, lab, 45)

        load.rate = STEP
        wait_for("three replicas that serve", lambda: replicas(lab) == (3, 3), lab)
        assert owners_of_replicas(lab) == ["kube-controller-manager"]
        assert roomy.up().ok().changes() == {}
        assert replicas(lab)[0] == 3

        kubectl(lab, "-n observability scale statefulset prometheus --replicas=0")
        try:
            wait_for("the metrics to be gone", lambda: known_metrics(hpa(lab)) <= {"Resource"}, lab)
            load.rate = USUAL
            stays(3, lab, HELD_SECONDS)
            assert condition(hpa(lab), "ScalingActive").get("status") == "False", hpa(lab)["status"]
        finally:
            kubectl(lab, "-n observability scale statefulset prometheus --replicas=2")
        wait_for("two replicas again", lambda: replicas(lab)[0] == 2, lab)
        wait_until_whole(lab, roomy)
        time.sleep(10)  # answers of the replica that left
    assert load.failures == []
    assert load.answered > 300
