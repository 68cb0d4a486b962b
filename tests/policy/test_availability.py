"""What would not survive the loss of a node, or a drain, is found. Each case breaks one thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.policy import availability
from tests.policy.breaking import Broken, found_by, gone, inputs, names, pod

CASES = (
    Broken(
        rule=availability.replicas_have_a_budget_that_lets_one_go,
        resource="PodDisruptionBudget traefik",
        change=gone,
        blamed="Deployment traefik",
    ),
    Broken(
        rule=availability.replicas_have_a_budget_that_lets_one_go,
        resource="PodDisruptionBudget qwen3-vl-budget",
        change=inputs(lambda values: [values["spec"].pop("maxUnavailable"), values["spec"].update(minAvailable="51%")]),
    ),
    Broken(
        rule=availability.replicas_have_a_budget_that_lets_one_go,
        resource="PodDisruptionBudget metrics-server",
        change=inputs(lambda values: values["spec"].update(maxUnavailable=0.0)),
    ),
    Broken(
        rule=availability.replicas_are_on_different_nodes,
        resource="Deployment qwen3-vl",
        change=pod(lambda spec: spec.pop("topologySpreadConstraints")),
    ),
    Broken(
        rule=availability.replicas_are_on_different_nodes,
        resource="Deployment metrics-server",
        change=pod(
            lambda spec: spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
                0
            ].update(labelSelector={"matchLabels": {"app": "another"}})
        ),
    ),
    Broken(
        rule=availability.the_autoscaler_alone_sets_the_replicas,
        resource="Deployment qwen3-vl",
        change=lambda resource: replace(resource, ignore_changes=()),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_that_rule_alone_names_that_resource(case: Broken) -> None:
    assert found_by(case) == [case.expected]


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(availability.RULES)
