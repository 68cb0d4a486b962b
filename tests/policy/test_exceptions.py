"""Exceptions cover what they name and no more, and those that nothing needs are found."""

from __future__ import annotations

from dataclasses import replace

from tests.policy import pods
from tests.policy.breaking import STACK
from tests.policy.exceptions import ALLOWED
from tests.policy.findings import ANY, Allowed, findings, stale, violations
from tests.policy.program import program
from tests.policy.rules import RULES


def test_an_exception_hides_its_own_findings_alone_and_one_without_any_is_a_finding() -> None:
    found = {STACK: findings(program(STACK), RULES)}
    unneeded = Allowed(rule=pods.containers_are_not_privileged, resource="DaemonSet flannel", part="none", reason="-")
    assert [each.part for each in stale(found, [*ALLOWED[:1], unneeded])] == [str(unneeded)]
    for exception in ALLOWED:
        assert exception.reason
        hidden = [each for each in found[STACK] if exception.covers(each)]
        others = [each for each in ALLOWED if each is not exception]
        assert violations(found[STACK], others) == hidden


def test_an_exception_covers_its_own_part_only() -> None:
    (first, *_) = findings(program(STACK), [pods.containers_do_not_run_as_root])
    allowed = Allowed(rule=pods.containers_do_not_run_as_root, resource=first.resource, part=first.part, reason="-")
    assert allowed.covers(first)
    assert replace(allowed, resource=ANY).covers(first)
    for other in (
        replace(allowed, resource="StatefulSet redis-group"),
        replace(allowed, part="another"),
        replace(allowed, rule=pods.containers_are_not_privileged),
    ):
        assert not other.covers(first)
