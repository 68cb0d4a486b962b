"""What alerts and panels ask a job for is not thrown away when that job is read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from components.observability.alerts import alerts
from components.observability.alerts.index import everything
from components.observability.node_targets import NODE_TARGETS
from components.observability.targets import TARGETS
from tests.unit.test_dashboards import ALL

SELECTED = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{[^{}]*?job="([^"]+)"')
KEPT = {each.job: each.keep for each in (*TARGETS, *NODE_TARGETS) if each.keep}


def asked() -> Iterator[tuple[str, str, str]]:
    """Who asks, for what, of which job."""
    for alert in alerts(everything()):
        yield from ((alert.name, *found) for found in SELECTED.findall(alert.expr))
    for dashboard in ALL:
        for panel in dashboard.panels:
            for query in panel.queries:
                yield from ((f"{dashboard.title}: {panel.title}", *found) for found in SELECTED.findall(query.expr))


@pytest.mark.parametrize("job", sorted(KEPT))
def test_what_is_asked_for_is_kept(job: str) -> None:
    wanted = {metric: who for who, metric, of in asked() if of == job and metric != "up"}
    lost = {metric: who for metric, who in wanted.items() if not re.fullmatch(KEPT[job], metric)}
    assert lost == {}


def test_the_expressions_were_understood() -> None:
    assert {job for _, _, job in asked()} >= {"node-exporter", "kube-apiserver", "etcd", "coredns", "cadvisor"}
