"""The alerts on logs and traces: each fires, clears, and leaves a near miss alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.observability.alerts import logs, traces
from components.observability.alerts.index import everything
from tests.support.alert_cases import Case, Firing, check_coverage, firing, never, series, try_cases
from tests.support.service_series import Counter, Gauge, counter, gauge

pytestmark = pytest.mark.engine
WATCHED = replace(everything(), logs=True, logs_seconds=86400, logs_disk_mib=1024)
GROUPS = [*logs.groups(WATCHED), *traces.groups(WATCHED)]
JAEGER = series("up", job="jaeger", namespace="observability", pod="jaeger-x", node="gpu-1")
LOKI = series("up", job="loki", namespace="observability", pod="loki-0", node="gpu-1")
STORED = series("loki_ingester_chunk_stored_bytes_total", job="loki", pod="loki-0", node="gpu-1", tenant="fake")
PACE = 1024 * 2**20 // (24 * 60)  # bytes a minute that fill the disk in the time that logs are kept
Found = dict[str, Gauge | Counter]


def collector(node: str) -> str:
    return series("up", job="log-collector", namespace="node-agents", pod=f"log-collector-{node}", node=node)


def sender(metric: str, node: str, **labels: str) -> str:
    return series(metric, job="log-collector", node=node, exporter="otlp_http", **labels)


def queue(what: str, node: str) -> str:
    return sender(f"otelcol_exporter_queue_{what}", node, data_type="logs")


def lost(node: str) -> str:
    return sender("otelcol_exporter_send_failed_log_records_total", node)


WELL: Found = {
    JAEGER: gauge((0, 1)),
    LOKI: gauge((0, 1)),
    STORED: counter((0, PACE // 4)),
    **{collector(node): gauge((0, 1)) for node in ("gpu-1", "gpu-2")},
    **{queue("size", node): gauge((0, 1000)) for node in ("gpu-1", "gpu-2")},
    **{queue("capacity", node): gauge((0, 100_000)) for node in ("gpu-1", "gpu-2")},
    lost("gpu-1"): counter((0, 0)),
}


def case(what: str, change: Found, expected: dict[float, list[Firing]], *near: str) -> Case:
    return Case(what, {**WELL, **change}, expected, near)


DOWN = firing("LogStoreDown")
LATE = firing("LogsNotDelivered", node="gpu-1")
FULL = firing("LogStoreFull")
DEAF = firing("LogCollectorDown", job="log-collector", namespace="node-agents", pod="log-collector-gpu-1", node="gpu-1")
CASES = [
    case("nothing", {}, never(1, 100)),
    case("a Loki that does not answer", {LOKI: gauge((10, 1), (15, 0), (0, 1))}, {15: [], 22: [DOWN], 27: []}),
    case("no Loki at all", {LOKI: gauge((10, 1), (15, None), (0, 1))}, {15: [], 22: [DOWN], 27: []}),
    case(
        "a silent Jaeger", {JAEGER: gauge((10, 1), (15, 0), (0, 1))}, {15: [], 22: [firing("TraceStoreDown")], 27: []}
    ),
    case("no Jaeger", {JAEGER: gauge((10, 1), (15, None), (0, 1))}, {15: [], 22: [firing("TraceStoreDown")], 27: []}),
    case("a Jaeger that is replaced", {JAEGER: gauge((10, 1), (5, 0), (0, 1))}, never(14, 22), "TraceStoreDown"),
    case("a Loki that is replaced", {LOKI: gauge((10, 1), (5, 0), (0, 1))}, never(14, 22), "LogStoreDown"),
    case(
        "a queue that is half full",
        {queue("size", "gpu-1"): gauge((10, 1000), (15, 60_000), (0, 1000))},
        {15: [], 22: [LATE], 27: []},
    ),
    case(
        "a queue that is a third full",
        {queue("size", "gpu-1"): gauge((10, 1000), (30, 33_000), (0, 1000))},
        never(25, 45),
        "LogsNotDelivered",
    ),
    case(
        "lines that Loki refuses",
        {lost("gpu-1"): counter((10, 0), (15, 3), (0, 0))},
        {15: [], 24: [LATE], 40: []},
    ),
    case(
        "more than the disk holds",
        {STORED: counter((60, 0), (150, PACE), (0, 0))},
        {60: [], 200: [FULL], 330: []},
    ),
    case(
        "two thirds of the disk",
        {STORED: counter((0, PACE * 2 // 3))},
        never(200, 300),
        "LogStoreFull",
    ),
    case(
        "a collector that does not answer",
        {collector("gpu-1"): gauge((10, 1), (15, 0), (0, 1))},
        {15: [], 22: [DEAF], 27: []},
    ),
    case(
        "a collector that is replaced",
        {collector("gpu-1"): gauge((10, 1), (3, 0), (0, 1))},
        never(12, 22),
        "LogCollectorDown",
    ),
]


def test_causes_and_what_fires(tmp_path: Path) -> None:
    try_cases(tmp_path, GROUPS, CASES)


def test_every_alert_is_tried() -> None:
    check_coverage(GROUPS, CASES)
