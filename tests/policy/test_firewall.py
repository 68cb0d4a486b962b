"""A port that a pod opens on the nodes while their filter drops it is found."""

from __future__ import annotations

import pytest

from tests.policy import firewall
from tests.policy.breaking import STACK, Broken, container, found_by, names
from tests.policy.program import program

CASES = (
    Broken(
        rule=firewall.ports_in_the_hosts_network_are_open_on_purpose,
        resource="DaemonSet metallb-speaker",
        change=container(lambda each: each["ports"].append({"containerPort": 9100})),
        part="tcp 9100",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_that_rule_alone_names_that_resource(case: Broken) -> None:
    assert found_by(case) == [case.expected]


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(firewall.RULES)


def test_the_rules_are_read() -> None:
    assert {("tcp", 22), ("tcp", 6443), ("tcp", 2380), ("udp", 8472), ("tcp", 2049)} <= firewall.opened(program(STACK))
