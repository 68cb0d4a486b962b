"""The alerts on alerting itself fire when their cause lasts, and clear; a near miss does not. As tests/engine/test_alerts.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.observability.alerts import alerting
from components.observability.alerts.index import everything
from components.observability.alerts.rule import RUNBOOKS
from tests.support import promtool
from tests.support.service_series import Series, counter, gauge, prometheus, text

pytestmark = pytest.mark.engine
WATCHED = replace(everything(), alerting=True)
EVERY = 30
PODS = {"alertmanager-0": "gpu-1", "alertmanager-1": "gpu-2"}


def of(metric: str, pod: str, labels: str = "", job: str = "alertmanager") -> str:
    return f'{metric}{{job="{job}",namespace="observability",pod="{pod}",node="{PODS[pod]}"{labels}}}'


def failed(pod: str) -> str:
    labels = ',integration="slack",receiver_name="team",reason="serverError"'
    return of("alertmanager_notifications_failed_total", pod, labels)


def relayed(pod: str) -> str:
    return of("alert_relay_failures_total", pod, ',receiver="oncall"', "alert-relay")


FOUND = prometheus("prometheus_notifications_alertmanagers_discovered")
DROPPED = prometheus("prometheus_notifications_dropped_total", ',alertmanager="http://10.244.1.2:9093/api/v2/alerts"')
FIRST = "alertmanager-0"
HEALTHY: Series = {
    FOUND: gauge((0, 2)),
    DROPPED: counter((0, 0)),
    **{of("up", pod): gauge((0, 1)) for pod in PODS},
    **{of("alertmanager_cluster_members", pod): gauge((0, 2)) for pod in PODS},
    **{of("alertmanager_config_last_reload_successful", pod): gauge((0, 1)) for pod in PODS},
    **{failed(pod): counter((0, 0)) for pod in PODS},
    **{relayed(pod): counter((0, 0)) for pod in PODS},
}


@dataclass(frozen=True, slots=True)
class Case:
    what: str
    change: Series
    expected: Mapping[float, set[str]]


CASES = [
    Case("nothing", {}, {1: set(), 30: set()}),
    Case(
        "one that does not answer",
        {of("up", FIRST): gauge((10, 1), (10, 0), (0, 1))},
        {14: set(), 16: {"AlertmanagerDown"}, 21: set()},
    ),
    Case("one that is replaced", {of("up", FIRST): gauge((10, 1), (2, 0), (0, 1))}, {11: set(), 16: set()}),
    Case(
        "none at all",
        {of("up", pod): gauge((10, 1), (10, None), (0, 1)) for pod in PODS},
        {14: set(), 16: {"AlertmanagerDown"}, 21: set()},
    ),
    Case(
        "two that do not see each other",
        {of("alertmanager_cluster_members", FIRST): gauge((10, 2), (15, 1), (0, 2))},
        {19: set(), 21: {"AlertmanagerSplit"}, 26: set()},
    ),
    Case(
        "one alone, as the other is away",
        {
            of("alertmanager_cluster_members", FIRST): gauge((10, 2), (0, 1)),
            of("up", "alertmanager-1"): gauge((10, 1), (4, 0), (0, None)),
        },
        {13: set(), 25: set()},
    ),
    Case(
        "a configuration that is refused",
        {of("alertmanager_config_last_reload_successful", FIRST): gauge((10, 1), (10, 0), (0, 1))},
        {14: set(), 16: {"AlertmanagerConfigNotLoaded"}, 21: set()},
    ),
    Case(
        "a receiver that takes nothing",
        {failed(FIRST): counter((10, 0), (5, 2), (0, 0))},
        {9: set(), 12: {"AlertsNotSent"}, 27: {"AlertsNotSent"}, 32: set()},
    ),
    Case(
        "a robot that refuses",
        {relayed(FIRST): counter((10, 0), (5, 2), (0, 0))},
        {10: set(), 14: {"AlertRelayFailing"}, 32: set()},
    ),
    Case("a robot that refuses twice", {relayed(FIRST): counter((10, 0), (1, 2), (0, 0))}, {11: set(), 20: set()}),
    Case(
        "Prometheus without an Alertmanager",
        {FOUND: gauge((10, 2), (10, 0), (0, 2))},
        {14: set(), 16: {"PrometheusNotSendingAlerts"}, 21: set()},
    ),
    Case(
        "alerts that nobody takes",
        {DROPPED: counter((10, 0), (10, 2), (0, 0))},
        {14: set(), 17: {"PrometheusNotSendingAlerts"}, 32: set()},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_an_alert_fires_and_clears(case: Case, tmp_path: Path) -> None:
    document = {"groups": [group.group(RUNBOOKS) for group in alerting.groups(WATCHED)]}
    expected: list[dict[str, Any]] = [
        {
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{int(minute * 60)}s",
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
        }
        for minute, names in case.expected.items()
    ]
    rules = {"alerts.yml": yaml.safe_dump(document, sort_keys=False)}
    promtool.try_rules(tmp_path, rules, text({**HEALTHY, **case.change}, 35, EVERY), expected, EVERY)


def test_every_alert_has_a_case_in_which_it_fires_and_clears() -> None:
    fired = {name for case in CASES for names in case.expected.values() for name in names}
    assert fired == {rule.name for group in alerting.groups(WATCHED) for rule in group.rules if hasattr(rule, "name")}
    for case in CASES:
        assert case.expected[max(case.expected)] == set()
