"""Updates and drains with no GPU to spare, under load: no request fails, and nothing waits for a GPU that never comes."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.test_8_replicas import KUBECTL, answers_for, control_plane, wait_until_whole
from tests.support.chats import Entry, asking
from tests.support.lab import Lab
from tests.support.stack import Stack
from tools import ask

# A streamed answer of 300 tokens takes 2.4 s alone and more beside others: at any moment several are half written.
DRAIN_WITHIN_SECONDS = 150
SLOW_SECONDS, SLOWER_SECONDS = 2.5, 12.0  # the kubelet's default patience is 1 s, three times, 10 s apart
HOLD_SECONDS = 45


@pytest.fixture
def entry(stack: Stack) -> Entry:
    return Entry(ask.Service.of(stack.outputs()), ask.api_key(stack.name))


@pytest.fixture
def changed(stack: Stack, lab: Lab) -> Iterator[Stack]:
    """The stack with another limit of the engine: every replica has to be replaced. Put back afterwards."""
    wait_until_whole(lab, stack)
    other = copy.deepcopy(stack)
    other.config["config"]["qwen3-vl:inference"]["maxNumSeqs"] = 48
    yield other
    stack.up().ok()
    wait_until_whole(lab, stack)


def replicas(lab: Lab, stack: Stack) -> list[dict[str, Any]]:
    """Pods of the model server that are not on their way out."""
    found = lab.shell(control_plane(stack), f"{KUBECTL} get pods -l app=qwen3-vl-webui -o json")
    pods: list[dict[str, Any]] = json.loads(found)["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def names(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def restarts(pods: list[dict[str, Any]]) -> dict[str, int]:
    """Engine restarts by pod."""
    return {
        pod["metadata"]["name"]: sum(each["restartCount"] for each in pod["status"]["initContainerStatuses"])
        for pod in pods
    }


def spare_gpus(stack: Stack) -> int:
    return sum(int(node.get("gpus", 0)) for node in stack.setting("nodes")) - 2


def test_an_update_without_a_spare_gpu_completes_and_fails_no_request(
    stack: Stack, lab: Lab, changed: Stack, entry: Entry
) -> None:
    assert spare_gpus(stack) == 0
    before = replicas(lab, stack)
    with asking(entry) as users:
        result = changed.up().ok()
        time.sleep(3)
    assert users.failures == []
    assert users.least_answers > 5
    assert result.changes() == {"qwen3-vl": "update"}
    after = replicas(lab, stack)
    assert len(after) == 2
    assert not names(before) & names(after), "every replica was replaced"
    engines = [each for pod in after for each in pod["spec"]["initContainers"] if each["name"] == "engine"]
    assert all("--max-num-seqs=48" in engine["args"] for engine in engines)


@pytest.mark.chaos
def test_a_drain_of_a_worker_fails_no_request(stack: Stack, lab: Lab, entry: Entry) -> None:
    """Of the worker that does not answer for the address: connections through the one that does end with its announcement."""
    wait_until_whole(lab, stack)
    where, holder = control_plane(stack), answers_for(entry.service.address, lab, stack)
    leaving = next(n["name"] for n in stack.setting("nodes") if n["role"] == "worker" and n["name"] != holder)
    try:
        with asking(entry) as users:
            drain = f"drain {leaving} --ignore-daemonsets --delete-emptydir-data --timeout={DRAIN_WITHIN_SECONDS}s"
            lab.shell(where, f"{KUBECTL} {drain}", seconds=DRAIN_WITHIN_SECONDS + 30)
            time.sleep(5)
            left = [pod for pod in replicas(lab, stack) if pod["spec"].get("nodeName")]
    finally:
        lab.shell(where, f"{KUBECTL} uncordon {leaving}")
    assert users.failures == []
    assert users.least_answers > 5
    assert [pod["spec"]["nodeName"] for pod in left] == [holder], "the other one waits for its GPU"
    wait_until_whole(lab, stack)


@pytest.mark.chaos
def test_an_engine_that_answers_its_health_check_late_is_not_killed(stack: Stack, lab: Lab, entry: Entry) -> None:
    """As vLLM does under a load of images. Both late, then one so late that its web UI sends users to the other one."""
    wait_until_whole(lab, stack)
    pods = replicas(lab, stack)
    before = restarts(pods)
    try:
        with asking(entry) as users:
            for pod in pods:
                set_faults(lab, stack, pod, {"health_delay": SLOW_SECONDS})
            time.sleep(HOLD_SECONDS)
            set_faults(lab, stack, pods[0], {"health_delay": SLOWER_SECONDS})
            time.sleep(HOLD_SECONDS)
            held = replicas(lab, stack)
    finally:
        for pod in pods:
            set_faults(lab, stack, pod, {})
    assert users.failures == []
    assert restarts(held) == before, "same pods, and no engine was started again"
    wait_until_whole(lab, stack)


def set_faults(lab: Lab, stack: Stack, pod: dict[str, Any], faults: dict[str, Any]) -> None:
    """Faults of the lab's stand-in, which takes them from its own loopback only."""
    code = (
        "import sys, urllib.request;"
        " urllib.request.urlopen(urllib.request.Request('http://127.0.0.1:8000/lab/faults', data=sys.argv[1].encode()))"
    )
    name = pod["metadata"]["name"]
    command = f"{KUBECTL} exec {name} -c engine -- python -c \"{code}\" '{json.dumps(faults)}'"
    lab.shell(control_plane(stack), command)
