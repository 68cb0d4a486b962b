"""Breaks exactly one thing in a recorded graph, and asks every rule what it finds then."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.policy.exceptions import ALLOWED
from tests.policy.findings import Finding, Rule, findings, label, violations
from tests.policy.program import program
from tests.policy.rules import RULES
from tests.support.graph import Graph, Resource

STACK = "prod"
Change = Callable[[Resource], Resource | None]
Edit = Callable[[dict[str, Any]], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """`change` of `resource` breaks `rule`, which names `part` of `blamed` (default: that resource)."""

    rule: Rule
    resource: str
    change: Change
    part: str = ""
    blamed: str = ""

    @property
    def expected(self) -> tuple[str, str, str]:
        return (self.rule.__name__, self.blamed or self.resource, self.part)


def found_by(case: Broken) -> list[tuple[str, str, str]]:
    """Rule, resource and part of every violation, of all rules."""
    graph = without(program(STACK), case.resource, case.change)
    return [(each.rule, each.resource, each.part) for each in forbidden(graph)]


def forbidden(graph: Graph) -> list[Finding]:
    return violations(findings(graph, RULES), ALLOWED)


def names(case: Broken) -> str:
    return f"{case.rule.__name__}-{case.resource.replace(' ', '-')}"


def without(graph: Graph, name: str, change: Change) -> Graph:
    """The graph with one resource changed. Raises ValueError if it is not there."""
    if [label(each) for each in graph.resources].count(name) != 1:
        raise ValueError(f"{name}: not one resource of the graph")
    changed = [change(each) if label(each) == name else each for each in graph.resources]
    return Graph([each for each in changed if each is not None])


def inputs(edit: Edit) -> Callable[[Resource], Resource]:
    """Changes the inputs of a resource, in a copy."""

    def change(resource: Resource) -> Resource:
        copied = copy.deepcopy(resource.inputs)
        edit(copied)
        return replace(resource, inputs=copied)

    return change


def pod(edit: Edit) -> Callable[[Resource], Resource]:
    return inputs(lambda values: edit(values["spec"]["template"]["spec"]))


def container(edit: Edit) -> Callable[[Resource], Resource]:
    """Of the first container that is no init container."""
    return pod(lambda spec: edit(spec["containers"][0]))


def gone(_: Resource) -> None:
    """Not declared at all."""
