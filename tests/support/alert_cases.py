"""Causes and what fires, many of them in one run of promtool: only the rules in question, a sample a minute."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.observability.alerts.rule import Alert, Group
from tests.support import promtool
from tests.support.service_series import Series, text

EVERY = 60


@dataclass(frozen=True, slots=True)
class Firing:
    name: str
    severity: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """Series, and what fires how many minutes later. `near` are the alerts that it nearly is."""

    what: str
    series: Series
    expected: Mapping[float, Sequence[Firing]]
    near: tuple[str, ...] = ()


def firing(name: str, severity: str = "warning", /, **labels: str) -> Firing:
    return Firing(name, severity, labels)


def never(*minutes: float) -> dict[float, list[Firing]]:
    return {minute: [] for minute in minutes}


def series(metric: str, **labels: str) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{inside}}}"


def try_cases(folder: Path, groups: Iterable[Group], cases: Iterable[Case]) -> None:
    """Fails unless exactly what each case expects fires; promtool names the cases that differ."""
    document = {"groups": [group.group("docs/runbooks") for group in groups]}
    (folder / "alerts.yml").write_text(yaml.safe_dump(document, sort_keys=False, width=1000))
    tests = [_test(case) for case in cases]
    written = {"rule_files": ["alerts.yml"], "evaluation_interval": f"{EVERY}s", "tests": tests}
    (folder / "test.yml").write_text(yaml.safe_dump(written, width=1000))
    done = promtool.run("test", "rules", "test.yml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def _test(case: Case) -> dict[str, Any]:
    found = text(case.series, int(max(case.expected)) + 1, EVERY)
    return {
        "name": case.what,
        "interval": f"{EVERY}s",
        "input_series": [{"series": name, "values": values} for name, values in found.items()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": f"{round(minute * 60)}s",
                "exp_samples": [_sample(each) for each in firing_then],
            }
            for minute, firing_then in case.expected.items()
        ],
    }


def _sample(alert: Firing) -> dict[str, Any]:
    labels = {"alertname": alert.name, "alertstate": "firing", "severity": alert.severity, **alert.labels}
    return {"labels": series("ALERTS", **labels), "value": 1}


def check_coverage(groups: Iterable[Group], cases: Sequence[Case]) -> None:
    """Every alert fires in a case, clears again, nearly fires in another one, and names only labels that it has."""
    alerts = [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]
    rules = {(alert.name, alert.severity) for alert in alerts}
    fired, cleared, near = set(), set(), {name for case in cases for name in case.near}
    for case in cases:
        *before, last = (case.expected[minute] for minute in sorted(case.expected))
        of_case = [each for then in (*before, last) for each in then]
        fired |= {(each.name, each.severity) for each in of_case}
        cleared |= {each.name for each in of_case} - {each.name for each in last}
        for each in of_case:
            texts = [alert.summary + alert.description for alert in alerts if alert.name == each.name]
            named = [set(re.findall(r"\$labels\.(\w+)", said)) for said in texts]
            assert any(names <= {"severity", *each.labels} for names in named), (each.name, named)
    assert fired == rules
    assert cleared == {name for name, _ in rules}
    assert near == {name for name, _ in rules}
