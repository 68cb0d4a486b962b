"""A workload without a policy, and a way that is not open, are found. Each case breaks one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.policy import network
from tests.policy.breaking import STACK, Broken, container, found_by, gone, inputs, names, without
from tests.policy.findings import findings
from tests.policy.program import program


def ingress(edit: Callable[[list[Any]], Any]) -> Any:
    return inputs(lambda values: edit(values["spec"]["ingress"]))


CASES = (
    Broken(
        rule=network.namespaces_deny_by_default,
        resource="NetworkPolicy traefik-default-deny",
        change=gone,
        blamed="Namespace traefik-namespace",
    ),
    Broken(
        rule=network.namespaces_deny_by_default,
        resource="NetworkPolicy default-default-deny",
        change=inputs(lambda values: values["spec"].update(policyTypes=["Ingress"])),
        blamed="Namespace default",
    ),
    Broken(
        rule=network.pods_are_behind_a_policy,
        resource="NetworkPolicy kube-system-nvidia-device-plugin",
        change=gone,
        blamed="DaemonSet gpu-plugin",
    ),
    Broken(
        rule=network.services_reach_their_pods,
        resource="NetworkPolicy default-qwen3-vl-webui",
        change=ingress(
            lambda rules: rules.__setitem__(slice(None), [r for r in rules if r["ports"][0]["port"] != 7860])
        ),
        part="7860",
        blamed="Deployment qwen3-vl",
    ),
    Broken(
        rule=network.what_is_scraped_lets_prometheus_in,
        resource="NetworkPolicy default-redis-proxy",
        change=ingress(lambda rules: rules[1].update(**{"from": rules[0]["from"]})),
        part="8404",
        blamed="DaemonSet redis-group-proxy",
    ),
    Broken(
        rule=network.ports_are_for_somebody,
        resource="Deployment traefik",
        change=container(lambda each: each["ports"].append({"name": "more", "containerPort": 9999.0})),
        part="9999",
    ),
    Broken(
        rule=network.both_ends_of_a_way_are_open,
        resource="NetworkPolicy observability-prometheus-adapter",
        change=inputs(lambda values: values["spec"].update(egress=[])),
        part="9090",
        blamed="Deployment prometheus-adapter",
    ),
)


def rules_broken(case: Broken) -> list[tuple[str, str, str]]:
    return [each for each in found_by(case) if each[0] == case.rule.__name__]


@pytest.mark.parametrize("case", CASES, ids=names)
def test_that_rule_names_that_resource(case: Broken) -> None:
    """Others may name it too: a way that is closed at one end is not open at both."""
    assert rules_broken(case) == [case.expected]


def test_a_component_that_nobody_wrote_a_policy_for_is_found() -> None:
    """As a contributor's new one: another label, another port."""
    change = inputs(lambda values: values["spec"]["template"]["metadata"]["labels"].update(app="new"))
    found = findings(without(program(STACK), "Deployment metrics-server", change), network.RULES)
    assert "pods_are_behind_a_policy" in {each.rule for each in found}


def test_policies_come_after_their_agent_and_denying_comes_last() -> None:
    """So they go first, and the agent takes its rules away before it goes itself."""
    graph = program(STACK)
    assert graph.dependency_names("policies") >= {"network-policy-agent", "network-policy-agent-enforcing"}
    assert graph.dependency_names("default-default-deny") >= {"default-qwen3-vl-webui", "default-redis"}


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(network.RULES)
