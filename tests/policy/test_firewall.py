"""A port that a pod opens on the nodes while their filter drops it is found."""

from __future__ import annotations

import pytest

from tests.policy import firewall
from tests.policy.breaking import STACK, Broken, container, found_by, names
from tests.policy.program import program

CASES = (
    Broken(
        rule=firewall.ports_of_the_host_are_open_on_purpose,
        resource="DaemonSet metallb-speaker",
        change=container(lambda each: each["ports"].append({"containerPort": 9100})),
        part="tcp 9100",
    ),
    Broken(
        rule=firewall.ports_of_the_host_are_open_on_purpose,
        resource="Deployment traefik",
        change=container(lambda each: each["ports"].append({"containerPort": 53, "hostPort": 53, "protocol": "UDP"})),
        part="udp 53",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_a_port_that_nobody_thought_of_is_found(case: Broken) -> None:
    assert case.expected in found_by(case)


def test_the_rules_are_read() -> None:
    assert {("tcp", 22), ("tcp", 6443), ("tcp", 2380), ("udp", 8472), ("tcp", 2049)} <= firewall.opened(program(STACK))
