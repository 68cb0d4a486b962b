"""Dashboards as values, and the JSON that Grafana reads of them. Pure.

What a panel does not say here is Grafana's own default. Panels are placed from left to right in the order in which they stand,
so none overlaps another, and ids follow from the order: the same dashboard is the same text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

SCHEMA_VERSION = 41  # the newest of the classic dashboards; newer Grafanas read it as it is
COLUMNS = 24
TAG = "qwen3-vl"

Source = Literal["prometheus", "loki"]  # type and uid of a data source: there is one of each
Kind = Literal["timeseries", "stat", "gauge", "bargauge", "table", "logs"]
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    expr: str  # PromQL; LogQL in a panel of logs
    legend: str = ""  # with labels as `{{pod}}`


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One picture. `description` says what it means for whoever looks at it at night."""

    title: str
    description: str
    unit: str  # Grafana's id of a unit: s, percentunit, bytes, reqps, short...
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    source: Source = "prometheus"
    width: int = 8
    height: int = 7
    stacked: bool = False
    decimals: int | None = None
    least: float | None = None  # ends of the axis
    most: float | None = None
    # Colours from these values on, beside green from the start. Drawn as lines where time is on the axis.
    thresholds: tuple[tuple[float, str], ...] = ()
    start: str = GREEN  # colour below the first threshold
    words: tuple[tuple[float, str, str], ...] = ()  # value, text in its place, colour
    empty: str = ""  # text where there is no series


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dashboard:
    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    hours: int = 3  # shown at first

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)

    def text(self) -> str:
        """The content of its file, one value a line, so that a change of it can be read."""
        return json.dumps(self.json(), indent=1, sort_keys=True) + "\n"

    def json(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,  # one moment is marked in all panels
            "refresh": "30s",
            "time": {"from": f"now-{self.hours}h", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": []},
            "templating": {"list": []},
            "links": [_others()],
            "panels": list(_placed(self.rows)),
        }


def _others() -> dict[str, Any]:
    """Links to all dashboards of this program, which keep the time that is looked at."""
    return {
        "type": "dashboards",
        "title": "",
        "tooltip": "",
        "icon": "external link",
        "url": "",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
    }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """A panel that does not fit beside the others begins below the highest of them."""
    number = top = 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            yield _panel(panel, number, left, top)
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    source = {"type": panel.source, "uid": panel.source}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
        "targets": [_target(panel, query, index) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
        **({"transformations": _columns(panel)} if panel.kind == "table" else {}),
    }


def _target(panel: Panel, query: Query, index: int) -> dict[str, Any]:
    common = {
        "refId": chr(ord("A") + index),
        "datasource": {"type": panel.source, "uid": panel.source},
        "expr": query.expr,
        "legendFormat": query.legend,
    }
    if panel.source == "loki":
        return common | {"queryType": "range"}
    now = panel.kind != "timeseries"
    return common | {
        "editorMode": "code",
        "instant": now,
        "range": not now,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _field(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"value": None, "color": panel.start}]
    steps += [{"value": value, "color": color} for value, color in panel.thresholds]
    mapped = {f"{value:g}": {"text": text, "color": color} for value, text, color in panel.words}
    found: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [{"type": "value", "options": mapped}] if mapped else [],
        "custom": _lines(panel) if panel.kind == "timeseries" else {},
    }
    ends = {"decimals": panel.decimals, "min": panel.least, "max": panel.most, "noValue": panel.empty or None}
    return found | {name: value for name, value in ends.items() if value is not None}


def _lines(panel: Panel) -> dict[str, Any]:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 5,
        "showPoints": "never",
        "spanNulls": False,  # a gap is something to be seen
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
    }


def _options(panel: Panel) -> dict[str, Any]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "stat":
            return {
                "reduceOptions": last,
                "colorMode": "background",
                "graphMode": "none",
                "justifyMode": "auto",
                "orientation": "auto",
                "textMode": "auto",
            }
        case "gauge":
            return {"reduceOptions": last, "showThresholdLabels": False, "showThresholdMarkers": True}
        case "bargauge":
            return {
                "reduceOptions": last,
                "displayMode": "basic",
                "orientation": "horizontal",
                "showUnfilled": True,
                "valueMode": "color",
            }
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
        case "logs":
            return {
                "showTime": True,
                "wrapLogMessage": True,
                "sortOrder": "Descending",
                "enableLogDetails": True,
                "dedupStrategy": "none",
                "prettifyLogMessage": False,
                "showCommonLabels": False,
                "showLabels": False,
            }


def _columns(panel: Panel) -> list[dict[str, Any]]:
    """Labels as columns, several queries as one table; the time of the reading says nothing."""
    organized = {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}}
    return [{"id": "merge", "options": {}}, organized] if len(panel.queries) > 1 else [organized]
