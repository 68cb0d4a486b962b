"""The controller of sick GPU nodes as a process, against the nodes of a fake API over TLS."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cache_processes import IMAGE, wait_until
from tests.support.chat_processes import Process
from tests.support.fake_api import FakeApi

TAINT = {"key": "nvidia.com/gpu-unhealthy", "effect": "NoSchedule"}
OTHER = {"key": "example.com/rack", "value": "a1", "effect": "NoSchedule"}
GONE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-11-25T00:00:00Z"}
PATIENCE_SECONDS = 1.0
NODES = {"gpu-1": 4, "gpu-2": 4, "gpu-3": 2}
ENOUGH_LOOKS = 40  # at 0.05 s, twice as long as the patience


class Controller(Process):
    def __init__(self, api: FakeApi) -> None:
        super().__init__("gpu-health", 1)
        self._api = api

    def command(self) -> list[str]:
        quick = ["--look-seconds", "0.05", "--patience-seconds", str(PATIENCE_SECONDS)]
        nodes = [f"--node={name}={gpus}" for name, gpus in NODES.items()]
        where = ["--api", self._api.url, "--credentials", str(self._api.credentials)]
        return [sys.executable, "-m", "gpu_health", *nodes, *quick, *where]

    def environment(self) -> dict[str, str]:
        # A proxy of the machine is none of the cluster's.
        return {"PYTHONPATH": str(IMAGE), "HTTPS_PROXY": "http://127.0.0.1:9", "PYTHONUNBUFFERED": "1"}

    def answers(self) -> bool:
        return "looking after the GPUs" in self.output()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output().splitlines()]

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if message in line["message"]]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with FakeApi(tmp_path / "credentials") as api:
        for name, gpus in NODES.items():
            api.add(name, gpus)
        yield api


@pytest.fixture
def controller(api: FakeApi) -> Iterator[Controller]:
    with Controller(api) as controller:
        wait_until(lambda: api.answered("gpu-3") > 0, "looked at", [controller])
        yield controller


def until(controller: Controller, condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what, [controller])


def looks_on(controller: Controller, api: FakeApi, name: str = "gpu-1", times: int = ENOUGH_LOOKS) -> None:
    """Until the node was looked at often enough since its last report: whatever was to be done has been done."""
    wanted = api.answered(name) + times
    until(controller, lambda: api.answered(name) >= wanted, f"{name} looked at")


def test_a_node_short_of_gpus_is_tainted_after_a_while_and_freed_when_they_are_back(
    controller: Controller, api: FakeApi
) -> None:
    api.set_taints("gpu-1", [OTHER, GONE])
    looks_on(controller, api)
    assert api.patches == [], "nothing is wrong"
    lost = time.monotonic()
    api.report("gpu-1", gpus=3)
    until(controller, lambda: TAINT in api.taints("gpu-1"), "tainted")
    assert api.patches[0].at - lost >= PATIENCE_SECONDS
    assert api.taints("gpu-1") == [OTHER, GONE, TAINT]
    looks_on(controller, api)
    assert len(api.patches) == 1, "once"

    back = time.monotonic()
    api.report("gpu-1", gpus=4)
    until(controller, lambda: TAINT not in api.taints("gpu-1"), "freed")
    assert api.patches[1].at - back >= PATIENCE_SECONDS
    assert api.taints("gpu-1") == [OTHER, GONE]
    assert {each.node for each in api.patches} == {"gpu-1"}
    looks_on(controller, api)
    (tainted,), (freed,) = controller.said("tainted: short of GPUs"), controller.said("taint removed")
    assert (tainted["node"], tainted["gpus"], tainted["wanted"]) == ("gpu-1", 3, 4)
    assert (freed["node"], freed["gpus"]) == ("gpu-1", 4)


def test_what_is_over_sooner_or_on_a_dead_node_changes_nothing(controller: Controller, api: FakeApi) -> None:
    api.flickering["gpu-1"] = 3
    looks_on(controller, api)
    api.report("gpu-2", gpus=0, ready=False)
    looks_on(controller, api, "gpu-2")
    assert api.patches == []


def test_a_taint_that_somebody_else_sets_meanwhile_is_not_lost(controller: Controller, api: FakeApi) -> None:
    api.before_patch = [OTHER]
    api.report("gpu-1", gpus=3)
    until(controller, lambda: TAINT in api.taints("gpu-1"), "tainted")
    assert [each.status for each in api.patches] == [409, 200]
    assert api.taints("gpu-1") == [OTHER, TAINT]
    assert len(controller.said("tainted")) == 1


def test_the_api_goes_and_comes_back(controller: Controller, api: FakeApi) -> None:
    api.report("gpu-1", gpus=3)
    api.down()
    until(controller, lambda: bool(controller.said("no use of the API")), "told")
    # Longer than the patience: what nobody saw does not count.
    time.sleep(2 * PATIENCE_SECONDS)
    back = time.monotonic()
    api.up()
    until(controller, lambda: TAINT in api.taints("gpu-1"), "tainted")
    assert api.patches[0].at - back >= PATIENCE_SECONDS
    assert len(controller.said("no use of the API")) == 1, "once, not at each attempt"
    until(controller, lambda: bool(controller.said("answers again")), "told")
    assert all("token" not in json.dumps(line) for line in controller.lines())


def test_a_rotated_token_is_read_anew_and_a_refusal_is_told_in_the_apis_words(
    controller: Controller, api: FakeApi
) -> None:
    with api.lock:
        api.token = "second-token"
    until(controller, lambda: bool(controller.said("no use of the API")), "told")
    assert "401" in controller.said("no use of the API")[0]["reason"]
    assert "Unauthorized" in controller.said("no use of the API")[0]["reason"]
    api.give_token("second-token")
    until(controller, lambda: bool(controller.said("answers again")), "told")


def test_a_certificate_of_somebody_else_is_refused(controller: Controller, api: FakeApi, tmp_path: Path) -> None:
    with FakeApi(tmp_path / "other") as other:
        (api.credentials / "ca.crt").write_bytes((other.credentials / "ca.crt").read_bytes())
    until(controller, lambda: bool(controller.said("no use of the API")), "told")
    assert "CERTIFICATE_VERIFY_FAILED" in controller.said("no use of the API")[0]["reason"]


def test_a_restart_leaves_taints_as_they_are_and_goes_on(api: FakeApi) -> None:
    api.report("gpu-1", gpus=3)
    with Controller(api) as first:
        until(first, lambda: TAINT in api.taints("gpu-1"), "tainted")
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
    with Controller(api) as second:
        looks_on(second, api)
        assert [each.status for each in api.patches] == [200], "no taint is taken away and set again"
        second.kill()
    api.report("gpu-1", gpus=4)
    started = time.monotonic()
    with Controller(api) as third:
        until(third, lambda: api.taints("gpu-1") == [], "freed")
        assert api.patches[1].at - started >= PATIENCE_SECONDS


def test_when_all_are_sick_at_once_none_is_tainted(controller: Controller, api: FakeApi) -> None:
    with api.lock:
        for name in NODES:
            api.report(name, gpus=0)
    looks_on(controller, api)
    assert api.patches == []
    # They need not have become due in the same turn.
    assert controller.said("not tainted")[-1]["nodes"] == list(NODES)
    assert controller.said("not tainted")[-1]["level"] == "warning"


def test_when_they_become_sick_one_after_another_half_stay_open(controller: Controller, api: FakeApi) -> None:
    for name in ("gpu-3", "gpu-1", "gpu-2"):
        api.report(name, gpus=0)
        looks_on(controller, api, name)
    assert [name for name in NODES if TAINT in api.taints(name)] == ["gpu-3"]
    assert controller.said("not tainted")[-1]["nodes"] == ["gpu-1", "gpu-2"]
    api.report("gpu-3", gpus=2)
    until(controller, lambda: api.taints("gpu-3") == [], "freed")
    api.report("gpu-2", gpus=4)
    until(controller, lambda: TAINT in api.taints("gpu-1"), "tainted")


def test_a_node_that_is_not_there_is_passed_over(controller: Controller, api: FakeApi) -> None:
    with api.lock:
        del api.nodes["gpu-3"]
    api.report("gpu-1", gpus=3)
    until(controller, lambda: bool(controller.said("not tainted")), "held back")
    assert controller.said("no use of the API") == []
    api.add("gpu-3", 2)
    until(controller, lambda: TAINT in api.taints("gpu-1"), "tainted")


def test_a_turn_that_hangs_ends_the_process_with_a_trace() -> None:
    """So that the kubelet starts it again; there is no probe that would notice."""
    hung = """
import threading, time
from pathlib import Path
from gpu_health import controller
from gpu_health.api import Api

class Hung(Api):
    def node(self, name):
        time.sleep(100)

controller.HUNG_SECONDS = 0.3
controller.Controller(Hung("https://127.0.0.1", Path()), {"gpu-1": 1}, 1).run(0.1, threading.Event())
"""
    ended = subprocess.run(
        [sys.executable, "-c", hung], env={"PYTHONPATH": str(IMAGE)}, capture_output=True, text=True, timeout=90
    )
    assert ended.returncode == 1
    assert "in _look_and_act" in ended.stderr
