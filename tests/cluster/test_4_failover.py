"""Any one control plane may lose its power, also the one that ran init and the one that holds the address."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.lab import Lab
from tests.support.probe import Probe, api_livez, api_read, dial
from tests.support.stack import Stack
from tools import ask

ENDPOINT_LIMIT_SECONDS = 10.0  # a busy machine; more means that the address did not move by itself
AIM_SECONDS = 3.0
LANES = 10  # a dial to the dead takes a second; the others find out meanwhile that the address answers


def holder(lab: Lab, stack: Stack) -> str:
    """The control plane that holds the API address now."""
    address = stack.setting("kubernetes")["apiAddress"]
    for node in control_planes(stack):
        if f" {address}/" in lab.shell(node, "ip -o -4 address show", check=False):
            return node
    raise AssertionError(f"nobody holds {address}")


def control_planes(stack: Stack) -> list[str]:
    return [node["name"] for node in stack.setting("nodes") if node["role"] == "control-plane"]


@contextmanager
def power_cut(lab: Lab, node: str) -> Iterator[float]:
    moment = time.monotonic()
    lab.run("kill", node)
    try:
        yield moment
    finally:
        lab.run("start", node)


# What each control plane answers about itself. The API's record of a node that was away for ten seconds is still its old one.
WHOLE = """\
systemctl is-active containerd kubelet keepalived && curl -sfk -m 3 https://127.0.0.1:6443/readyz &&
curl -sfk -m 3 https://127.0.0.1:10257/healthz && curl -sfk -m 3 https://127.0.0.1:10259/healthz &&
curl -sf -m 3 http://127.0.0.1:10248/healthz && echo whole"""


def wait_until_control_planes_work(lab: Lab, stack: Stack, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    for node in control_planes(stack):
        while "whole" not in (found := lab.shell(node, WHOLE, check=False)):
            assert time.monotonic() < end, f"{node} is not whole again after {seconds:.0f} s: {found}"
            time.sleep(1)


def test_keepalived_takes_its_configuration_as_it_is_written(stack: Stack, lab: Lab) -> None:
    """It starts in any case; an interval it rounds or a word it does not know is only told in its log."""
    for node in control_planes(stack):
        assert "taken" in lab.shell(node, "keepalived --config-test && echo taken", check=False), node


@pytest.mark.parametrize("which", ["holder", pytest.param("first", marks=pytest.mark.chaos)])
def test_the_api_and_the_chat_go_on_without_one_control_plane(stack: Stack, lab: Lab, which: str) -> None:
    wait_until_control_planes_work(lab, stack)
    node = holder(lab, stack) if which == "holder" else control_planes(stack)[0]
    outputs = stack.outputs()
    endpoint = api_livez(stack.setting("kubernetes")["apiAddress"])

    def chat() -> str:
        return ask.ask(ask.Service.of(outputs), "Still there?")

    with Probe(endpoint, lanes=LANES) as api, Probe(chat, interval=0.5) as chats:
        time.sleep(2)
        with power_cut(lab, node) as moment:
            api.wait_for_answer_after(moment + 1, 60)
            time.sleep(8)
    assert api.longest_gap() <= ENDPOINT_LIMIT_SECONDS, api.failures
    assert chats.failures == []
    assert chats.longest_gap() <= ENDPOINT_LIMIT_SECONDS
    assert len(chats.answered) >= 8, "the chat must have gone on while the node was off"
    wait_until_control_planes_work(lab, stack)
    print(
        f"{which} {node}: API gap {api.longest_gap():.1f} s, {len(chats.answered)} chats answered, "
        f"longest chat gap {chats.longest_gap():.1f} s"
    )


@pytest.mark.chaos
def test_the_gap_over_many_kills(stack: Stack, lab: Lab, tmp_path: Path) -> None:
    """Seeded kills of random control planes; the 95th percentile of the API's gap against the aim.

    Three judges at once: whether somebody holds the address, `/livez`, and an object read as an operator's client reads it.
    """
    draw = random.Random(20261123)  # noqa: S311 - repeatable on purpose
    address = stack.setting("kubernetes")["apiAddress"]
    kubeconfig = yaml.safe_load(stack.outputs("--show-secrets")["kubeconfig"])
    judges = {"address": dial(address), "livez": api_livez(address), "read": api_read(kubeconfig, tmp_path)}
    gaps: dict[str, list[float]] = {name: [] for name in judges}
    for number in range(20):
        wait_until_control_planes_work(lab, stack)
        node, held = draw.choice(control_planes(stack)), holder(lab, stack)
        with ExitStack() as watching:
            probes = {name: watching.enter_context(Probe(once, lanes=LANES)) for name, once in judges.items()}
            time.sleep(2)
            with power_cut(lab, node) as moment:
                for probe in probes.values():
                    probe.wait_for_answer_after(moment + 1, 60)
                time.sleep(8)
        for name, probe in probes.items():
            gaps[name].append(probe.longest_gap())
        seen = ", ".join(f"{name} {found[-1]:.1f} s" for name, found in gaps.items())
        print(f"kill {number + 1} of {node}{', which held the address' if node == held else ''}: {seen}")
    for name, found in gaps.items():
        percentile = sorted(found)[int(0.95 * len(found)) - 1]
        print(f"{name}: 95th percentile {percentile:.1f} s, worst {max(found):.1f} s; aim {AIM_SECONDS} s")
        assert percentile <= ENDPOINT_LIMIT_SECONDS
