"""What the API server would refuse, or drop in silence, is found. Each case breaks one thing."""

from __future__ import annotations

import pytest

from tests.policy import schema
from tests.policy.breaking import Broken, found_by, inputs, names, pod

CASES = (
    Broken(
        rule=schema.objects_fit_their_schema,
        resource="StatefulSet redis-group",
        change=pod(lambda spec: spec.update(restartPolcy="Always")),
        part="spec.template.spec",
    ),
    Broken(
        rule=schema.objects_fit_their_schema,
        resource="Service redis-service",
        change=inputs(lambda values: values["spec"]["ports"][0].update(port="redis")),
        part="spec.ports.0.port",
    ),
    Broken(
        rule=schema.objects_fit_their_schema,
        resource="IngressRoute qwen3-vl-ingress",
        change=inputs(lambda values: values["spec"].update(entryPoints="web")),
        part="spec.entryPoints",
    ),
    Broken(
        rule=schema.objects_fit_their_schema,
        resource="HorizontalPodAutoscaler qwen3-vl-hpa",
        change=inputs(lambda values: values.update(apiVersion="autoscaling/v2beta2")),
        part="kind",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_that_rule_alone_names_that_resource(case: Broken) -> None:
    assert found_by(case) == [case.expected]


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(schema.RULES)
