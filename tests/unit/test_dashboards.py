"""Dashboards are what Grafana's own schema takes, ask in PromQL that Prometheus reads, and say what they show."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard as OfGrafana

from components.observability.dashboards import Dashboard, Parts, dashboards
from components.observability.dashboards.model import COLUMNS, Panel, Query, Row
from components.observability.grafana_config import HOME
from components.settings.observability import Objective
from tests.cluster.test_i_dashboards import MAY_BE_EMPTY
from tests.support import promtool

PARTS = Parts(objective=Objective(), retention_hours=24, replicas=2)
NONE = Parts(
    objective=Objective(),
    retention_hours=720,
    replicas=1,
    vllm=False,
    gpus=False,
    redis_group=False,
    image_scan=False,
    nodes=False,
    alertmanager=False,
    logs=False,
)
ALL, FEWEST = dashboards(PARTS), dashboards(NONE)
# A ConfigMap takes a MiB, and its keys and metadata beside it.
ROOM = 900_000
UNITS = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}

register_default_plugins()


def each(found: tuple[Dashboard, ...] = (*ALL, *FEWEST)) -> Iterator[tuple[Dashboard, Panel]]:
    for dashboard in found:
        for panel in dashboard.panels:
            yield dashboard, panel


def lost(written: Any, read: Any, path: str = "") -> Iterator[str]:
    """What the schema does not know, or takes for something else. Grafana adds defaults of its own."""
    if isinstance(written, dict):
        for key, value in written.items():
            if key not in read and value in (None, [], {}, ""):
                continue
            if not isinstance(read, dict) or key not in read:
                yield f"{path}.{key}"
            else:
                yield from lost(value, read[key], f"{path}.{key}")
    elif isinstance(written, list):
        if not isinstance(read, list) or len(read) != len(written):
            yield path
            return
        for index, value in enumerate(written):
            yield from lost(value, read[index], f"{path}[{index}]")
    elif written != read:
        yield f"{path}: {written!r} became {read!r}"


@pytest.mark.parametrize("dashboard", ALL, ids=lambda each: each.uid)
def test_grafanas_schema_takes_a_dashboard_and_loses_nothing_of_it(dashboard: Dashboard) -> None:
    written = json.loads(dashboard.text())
    read = json.loads(json.dumps(OfGrafana.from_json(written), cls=JSONEncoder))
    assert list(lost(written, read)) == []


def test_the_schema_notices_what_it_does_not_know() -> None:
    written = json.loads(ALL[0].text())
    panel = next(each for each in written["panels"] if each["type"] == "timeseries")
    panel["options"]["legend"]["colour"] = "red"
    panel["fieldConfig"]["defaults"]["custom"]["lineWeight"] = 1
    panel["targets"][0]["query"] = "up"
    read = json.loads(json.dumps(OfGrafana.from_json(written), cls=JSONEncoder))
    assert sorted(path.rpartition(".")[2] for path in lost(written, read)) == ["colour", "lineWeight", "query"]


def test_prometheus_reads_every_expression(tmp_path: Path) -> None:
    """As rules, because promtool reads those: a name for each, one run for all."""
    found = {query.expr for _, panel in each() if panel.source == "prometheus" for query in panel.queries}
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(sorted(found))]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, width=1000))
    done = promtool.run("check", "rules", "--lint=none", "panels.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout
    assert len(rules) > 80


def test_a_legend_names_labels_that_the_expression_keeps() -> None:
    for dashboard, panel in each():
        for query in panel.queries:
            for label in re.findall(r"{{(\w+)}}", query.legend):
                grouped = re.findall(r"by \(([^)]*)\)", query.expr)
                kept = not grouped or any(label in re.split(r",\s*", group) for group in grouped)
                assert kept, f"{dashboard.uid}: {panel.title}: {label}"


def test_several_series_of_one_panel_are_told_apart() -> None:
    for dashboard, panel in each():
        legends = Counter(query.legend for query in panel.queries)
        assert legends.most_common(1)[0][1] == 1, f"{dashboard.uid}: {panel.title}"
        if panel.kind == "timeseries":
            assert all(query.legend for query in panel.queries), f"{dashboard.uid}: {panel.title}"


@pytest.mark.parametrize("found", [ALL, FEWEST], ids=["all", "fewest"])
def test_each_dashboard_has_an_address_of_its_own(found: tuple[Dashboard, ...]) -> None:
    uids = [dashboard.uid for dashboard in found]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", uid) for uid in uids)
    assert uids[0] == HOME
    assert len({dashboard.title for dashboard in found}) == len(found)


def test_each_panel_says_what_it_shows() -> None:
    for dashboard, panel in each():
        where = f"{dashboard.uid}: {panel.title}"
        assert panel.unit in UNITS, f"{where}: {panel.unit}"
        assert panel.description.endswith("."), where
        assert panel.queries, where
        values = [value for value, _ in panel.thresholds]
        assert values == sorted(values), where
        assert panel.source == "loki" or "$" not in "".join(query.expr for query in panel.queries), where


def test_titles_are_told_apart() -> None:
    for dashboard in (*ALL, *FEWEST):
        places = Counter((row.title, panel.title) for row in dashboard.rows for panel in row.panels)
        assert places.most_common(1)[0][1] == 1, dashboard.uid


@pytest.mark.parametrize("dashboard", [*ALL, *FEWEST], ids=lambda each: each.uid)
def test_no_panel_lies_on_another(dashboard: Dashboard) -> None:
    panels = dashboard.json()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    boxes = [panel["gridPos"] for panel in panels]
    assert all(box["x"] >= 0 and box["x"] + box["w"] <= COLUMNS for box in boxes)
    for one, other in combinations(boxes, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, f"{one} and {other}"
    assert all(first["y"] <= second["y"] for first, second in pairwise(boxes))


def test_a_panel_that_does_not_fit_begins_a_line() -> None:
    panels = tuple(
        Panel(title=str(width), description="", unit="s", width=width, height=height, queries=(Query(expr="up"),))
        for width, height in ((10, 3), (10, 6), (10, 2))
    )
    boxes = [
        panel["gridPos"]
        for panel in Dashboard(uid="u", title="", description="", rows=(Row(title="", panels=panels),)).json()["panels"]
    ]
    assert [(box["x"], box["y"]) for box in boxes] == [(0, 0), (0, 1), (10, 1), (0, 7)]


def test_what_a_stack_does_not_run_is_not_shown() -> None:
    uids = {dashboard.uid.removeprefix("qwen3-vl-") for dashboard in FEWEST}
    assert uids == {"start", "inference", "edge", "redis", "alerting"}
    everything = " ".join(query.expr for _, panel in each(FEWEST) for query in panel.queries)
    for gone in ("vllm:", "DCGM_", "haproxy_", "image_", "alertmanager_", "kube_", "node_"):
        assert gone not in everything


def test_what_may_be_empty_in_the_lab_is_a_panel() -> None:
    """An exception that names what is gone would hide the next fault."""
    panels = {(dashboard.uid.removeprefix("qwen3-vl-"), panel.title) for dashboard, panel in each(ALL)}
    assert set(MAY_BE_EMPTY) <= panels
    assert all(MAY_BE_EMPTY.values())


def test_the_objective_of_the_stack_is_shown() -> None:
    objective = Objective(availability_percent=99, latency_seconds=3, latency_percent=97, first_token_seconds=1.5)
    start = dashboards(Parts(objective=objective, retention_hours=1000, replicas=3))[0]
    texts = {panel.title: panel for panel in start.panels}
    assert texts["Requests answered"].thresholds == ((0.99, "green"),)
    assert texts["Error budget left"].queries[0].expr.endswith("/ 0.01")
    assert "[720h]" in texts["Error budget left"].queries[0].expr  # no longer than the promise's 30 days
    assert texts["Budget of slow answers left"].queries[0].expr.endswith("/ 0.03")
    assert texts["First token of the engines"].thresholds == ((1.5, "red"),)
    assert texts["Replicas ready"].thresholds[-1] == (3, "green")


def test_the_budget_left_is_what_the_rules_counted(tmp_path: Path) -> None:
    """A thousandth may fail; a rate of failures of half of that leaves half of the budget."""
    expr = {panel.title: panel for panel in ALL[0].panels}["Error budget left"].queries[0].expr
    rules = {"none.yml": yaml.safe_dump({"groups": []})}
    series = {"service:failed_requests:rate5m": "0.005+0x60", "service:requests:rate5m": "10+0x60"}
    expected = [{"expr": expr, "eval_time": "1h", "exp_samples": [{"value": 0.5}]}]
    promtool.try_rules(tmp_path, rules, series, expected, 60)


def test_all_fit_in_one_configmap() -> None:
    assert sum(len(dashboard.text().encode()) for dashboard in ALL) < ROOM


def test_the_same_dashboard_is_the_same_text() -> None:
    assert [one.text() for one in dashboards(PARTS)] == [one.text() for one in ALL]
