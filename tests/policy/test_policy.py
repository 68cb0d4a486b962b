"""The product's safety rules, over everything that the checked-in stacks would register; one run names all violations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tests.policy.exceptions import ALLOWED
from tests.policy.findings import Finding, findings, label, stale, violations
from tests.policy.program import program
from tests.policy.rules import RULES
from tests.support.manifests import STACKS


def report(found: Mapping[str, Iterable[Finding]]) -> str:
    """One line for each violation, with the stacks that have it."""
    stacks: dict[str, list[str]] = defaultdict(list)
    for stack, several in found.items():
        for text in dict.fromkeys(str(each) for each in several):
            stacks[text].append(stack)
    return "\n".join(f"{', '.join(where)}: {text}" for text, where in stacks.items())


def test_no_rule_is_broken_but_where_it_is_allowed() -> None:
    found: dict[str, Sequence[Finding]] = {stack: findings(program(stack), RULES) for stack in STACKS}
    for kind in ("none", "acme"):  # no checked-in stack has these
        found[f"prod, {kind}"] = findings(program("prod", tls=kind), RULES)
    for kind in ("disk", "s3"):
        found[f"prod, logs in {kind}"] = findings(program("prod", logs=kind), RULES)
    found["prod, an operator"] = findings(program("prod", operator=True), RULES)
    broken = {stack: violations(each, ALLOWED) for stack, each in found.items()}
    said = "\n".join(filter(None, [report(broken), *(str(each) for each in stale(found, ALLOWED))]))
    assert not said, f"\n{said}"


def test_the_whole_program_is_looked_at() -> None:
    graph = program("prod")
    layers = {resource.type.split(":")[1] for resource in graph.resources if resource.type.startswith("qwenvl:")}
    assert layers == {"hosts", "cluster", "services", "inference", "observability"}
    names = [label(resource) for resource in graph.resources]
    assert len(names) == len(set(names)), "an exception names one resource"
