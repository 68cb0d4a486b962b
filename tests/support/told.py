"""Whom Alertmanager would tell of alerts that fire: its rules of inhibition, where it does not run itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from components.observability.alertmanager_config import inhibitions

Labels = Mapping[str, str]
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(.*)"')


def matches(labels: Labels, matchers: Iterable[str]) -> bool:
    """As Alertmanager does: a whole label, and one that is not there is empty."""
    for matcher in matchers:
        found = MATCHER.fullmatch(matcher)
        assert found, matcher
        name, how, value = found.groups()
        here = labels.get(name, "")
        same = here == value if how in ("=", "!=") else re.fullmatch(value, here) is not None
        if same == how.startswith("!"):
            return False
    return True


def muted(labels: Labels, firing: Iterable[Labels], rules: Iterable[dict[str, Any]]) -> bool:
    """One that is muted itself still mutes others; one that matches both sides of a rule is not muted by another such one."""
    for rule in rules:
        source, target = rule["source_matchers"], rule["target_matchers"]
        if not matches(labels, target):
            continue
        both = matches(labels, source)
        for other in firing:
            equal = all(other.get(name, "") == labels.get(name, "") for name in rule.get("equal", []))
            if equal and matches(other, source) and not (both and matches(other, target)):
                return True
    return False


def told(firing: Iterable[Labels]) -> list[Labels]:
    """Those that nothing else that fires mutes."""
    all_of_them, rules = list(firing), inhibitions()
    return [each for each in all_of_them if not muted(each, all_of_them, rules)]
