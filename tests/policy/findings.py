"""What a rule finds, and how what is allowed is told from what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.support.graph import Graph, Resource

ANY = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One violation. `part` says where in the resource: a container, a field, a path, an image; empty where it is the whole."""

    resource: str  # as a preview shows it, `Deployment redis`
    part: str = ""
    found: str
    rule_says: str
    remedy: str
    rule: str = ""  # name of the rule's function

    def __str__(self) -> str:
        where = f"{self.resource} ({self.part})" if self.part else self.resource
        return f"{where}: {self.found}; {self.rule_says}. {self.remedy} [{self.rule}]"


Rule = Callable[[Graph], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """An exception from one rule, for one part of one resource. `ANY` as the resource leaves the part to decide alone."""

    rule: Rule
    resource: str
    part: str = ""
    reason: str

    def covers(self, finding: Finding) -> bool:
        return (
            finding.rule == self.rule.__name__
            and self.resource in (ANY, finding.resource)
            and self.part == finding.part
        )

    def __str__(self) -> str:
        return f"{self.rule.__name__}: {self.resource} {self.part}".rstrip()


def label(resource: Resource) -> str:
    return f"{resource.type.rpartition(':')[2]} {resource.name}"


def findings(graph: Graph, rules: Iterable[Rule]) -> list[Finding]:
    """All violations of all rules, the allowed ones too."""
    return [replace(each, rule=rule.__name__) for rule in rules for each in rule(graph)]


def violations(found: Iterable[Finding], allowed: Sequence[Allowed]) -> list[Finding]:
    return [each for each in found if not any(exception.covers(each) for exception in allowed)]


def stale(found: Mapping[str, Sequence[Finding]], allowed: Sequence[Allowed]) -> Iterator[Finding]:
    """Exceptions that no stack needs any longer: the next one who breaks that rule there would not be told."""
    every = [each for stack in found.values() for each in stack]
    for exception in allowed:
        if not any(exception.covers(each) for each in every):
            yield Finding(
                resource="tests/policy/exceptions.py",
                part=str(exception),
                found="matches no finding in any stack",
                rule_says="an exception is there for something",
                remedy="Delete it, or correct its resource and part",
                rule="stale",
            )
