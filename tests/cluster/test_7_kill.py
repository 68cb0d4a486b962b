"""`kill -9` of a running `up` at seeded random moments of a full build; one plain `up` finishes it, with the same end state."""

from __future__ import annotations

import json
import random

import pytest

from tests.cluster.test_1_build import kubectl
from tests.support.lab import Lab
from tests.support.stack import Result, Stack

SEED = 20261123
KILLS = 20
ALWAYS: tuple[int, ...] = ()  # in `make test`: each takes two builds


def moments(count: int, build_seconds: float) -> list[float]:
    """Seconds after the start, spread over the whole build: one drawn from each of `count` equal parts."""
    draw = random.Random(SEED)  # noqa: S311 - repeatable on purpose
    part = build_seconds / count
    return [part * i + draw.uniform(0.05, 0.95) * part for i in range(count)]


def end_state(lab: Lab, stack: Stack) -> dict[str, object]:
    """What must be the same after every build: nodes, members, workloads, and every file this project keeps on the nodes."""
    nodes = json.loads(kubectl(lab, "get nodes -o json"))["items"]
    pods = json.loads(kubectl(lab, "get deployments,daemonsets,statefulsets -A -o json"))["items"]
    files = "cat /etc/containerd/config.toml /etc/keepalived/keepalived.conf /etc/sysctl.d/*qwenvl* 2>/dev/null | sha256sum; "
    held = "apt-mark showhold | sort | tr '\\n' ' '"
    return {
        "nodes": sorted(node["metadata"]["name"] for node in nodes),
        "workloads": sorted(f"{p['kind']} {p['metadata']['namespace']}/{p['metadata']['name']}" for p in pods),
        "hosts": {n["name"]: lab.shell(n["name"], files + held) for n in stack.setting("nodes")},
    }


def killed_build(lab: Lab, stack: Stack, moment: float) -> float:
    """Kills a build from bare nodes after `moment` seconds; earlier if builds have become faster than the first. Tells when."""
    for _ in range(5):
        lab.run("reset")
        lab.deliver_model()
        if stack.up_killed_after(moment):
            return moment
        moment *= 0.8
    raise AssertionError(f"the build was over before {moment:.0f} s")


@pytest.fixture(scope="module")
def want(lab: Lab, fresh_stack: Stack, first_up: Result) -> dict[str, object]:
    """The end state of a build that nobody disturbed."""
    assert first_up.code == 0
    return end_state(lab, fresh_stack)


@pytest.mark.parametrize(
    "number", [number if number in ALWAYS else pytest.param(number, marks=pytest.mark.chaos) for number in range(KILLS)]
)
def test_a_killed_build_is_finished_by_the_next_up(
    stack: Stack, lab: Lab, first_up: Result, want: dict[str, object], number: int
) -> None:
    moment = killed_build(lab, stack, moments(KILLS, first_up.seconds)[number])
    stack.up().ok()
    assert end_state(lab, stack) == want, f"killed after {moment:.0f} s"
    stack.preview("--expect-no-changes").ok()
    print(f"killed after {moment:.1f} s: finished by the next up")
