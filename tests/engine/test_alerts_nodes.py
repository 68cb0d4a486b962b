"""The alerts on nodes, and on copies of the model on them: each fires, clears, and leaves a near miss alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.observability.alerts import models, nodes
from components.observability.alerts.index import everything
from tests.support.alert_cases import Case, Firing, check_coverage, firing, never, series, try_cases
from tests.support.service_series import Counter, Gauge, Values, counter, gauge

pytestmark = pytest.mark.engine
WATCHED = replace(everything(), start_seconds=20 * 60)
GROUPS = [*nodes.groups(WATCHED), *models.groups(WATCHED)]
NODE = "gpu-2"
DISK = {"device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/"}
OF_DISK = {"node": NODE, "device": "/dev/sda1"}
DAY = 24 * 3600  # the samples' clock begins at 0
DEVICE = {"device": "eth0"}


def of(metric: str, **labels: str) -> str:
    return series(metric, job="node-exporter", node=NODE, **labels)


UP, KUBELET = of("up"), series("up", job="kubelet", node=NODE)
READY = series(
    "kube_node_status_condition", job="kube-state-metrics", node=NODE, condition="Ready", status="true", pod="ksm-x"
)
BOOT, MEMORY, KILLS = of("node_boot_time_seconds"), of("node_memory_MemAvailable_bytes"), of("node_vmstat_oom_kill")
FREE, INODES = of("node_filesystem_avail_bytes", **DISK), of("node_filesystem_files_free", **DISK)
READONLY = of("node_filesystem_readonly", **DISK)
OFFSET, SYNC, ERROR = (of(f"node_timex_{what}") for what in ("offset_seconds", "sync_status", "maxerror_seconds"))
BROKEN = of("node_network_receive_errs_total", **DEVICE)
AGENT = series("up", job="model-cache", namespace="default", pod="model-cache-x", node=NODE)
COPY = series("model_cache_complete", job="model-cache", node=NODE, pod="model-cache-x", revision="r1", model="m")
WELL: dict[str, Gauge | Counter | Values] = {
    UP: gauge((0, 1)),
    KUBELET: gauge((0, 1)),
    READY: gauge((0, 1)),
    BOOT: gauge((0, -DAY)),
    MEMORY: gauge((0, 50)),
    of("node_memory_MemTotal_bytes"): gauge((0, 100)),
    KILLS: counter((0, 0)),
    FREE: gauge((0, 50)),
    of("node_filesystem_size_bytes", **DISK): gauge((0, 100)),
    INODES: gauge((0, 50)),
    of("node_filesystem_files", **DISK): gauge((0, 100)),
    READONLY: gauge((0, 0)),
    OFFSET: gauge((0, 0.001)),
    SYNC: gauge((0, 1)),
    ERROR: gauge((0, 0.1)),
    BROKEN: counter((0, 0)),
    of("node_network_transmit_errs_total", **DEVICE): counter((0, 0)),
    of("node_network_receive_packets_total", **DEVICE): counter((0, 60000)),
    of("node_network_transmit_packets_total", **DEVICE): counter((0, 60000)),
    AGENT: gauge((0, 1)),
    COPY: gauge((0, 1)),
}


def failures(origin: str) -> str:
    return series("model_cache_failures_total", job="model-cache", node=NODE, pod="model-cache-x", origin=origin)


def case(
    what: str,
    change: dict[str, Gauge | Counter | Values],
    expected: dict[float, list[Firing]],
    *near: str,
) -> Case:
    return Case(what, {**WELL, **change}, expected, near)


def down(minutes: float) -> Gauge:
    return gauge((10, 1), (minutes, 0), (0, 1))


def fires(name: str, first: float, gone: float, severity: str = "warning", **labels: str) -> dict[float, list[Firing]]:
    """Not a minute before `first`, then, and not any more at `gone`."""
    return {first - 1: [], first + 1: [firing(name, severity, **(labels or {"node": NODE}))], gone: []}


FULL = firing("NodeFilesystemFull", **OF_DISK)
CASES = [
    case("nothing", {}, never(5, 65, 130)),
    case("a node away", {UP: down(20), KUBELET: down(20)}, fires("NodeDown", 13, 31), "NodeExporterDown"),
    case("a node away for 2 minutes", {UP: down(2), KUBELET: down(2)}, never(11, 13, 15), "NodeDown"),
    case("node-exporter away", {UP: down(30)}, fires("NodeExporterDown", 20, 41), "NodeDown"),
    case("a node not ready", {READY: down(20)}, fires("NodeNotReady", 15, 31)),
    case("a node not ready for 4 minutes", {READY: down(4)}, never(13, 15, 17), "NodeNotReady"),
    case("a restart", {BOOT: gauge((70, -DAY), (0, 70 * 60))}, fires("NodeRebooted", 70, 131)),
    case(
        "a node that is new",
        {BOOT: gauge((70, None), (0, 70 * 60)), UP: gauge((70, None), (0, 1))},
        never(71, 100, 129, 131),
        "NodeRebooted",
    ),
    case("4 % of the memory left", {MEMORY: gauge((10, 50), (20, 4), (0, 50))}, fires("NodeMemoryShort", 20, 31)),
    case("6 % of the memory left", {MEMORY: gauge((10, 50), (0, 6))}, never(21, 60), "NodeMemoryShort"),
    case("a process killed", {KILLS: counter((10, 0), (1, 1), (0, 0))}, fires("NodeOomKill", 10, 30)),
    case("processes killed before the node was read", {KILLS: counter((1, 5), (0, 0))}, never(2, 20), "NodeOomKill"),
    # disks
    case(
        "a tenth of the disk free",
        {FREE: gauge((10, 50), (30, 10), (0, 50))},
        fires("NodeFilesystemFull", 25, 41, **OF_DISK),
    ),
    case(
        "a full disk",
        {FREE: gauge((10, 50), (30, 2), (0, 50))},
        {24: [], 26: [FULL, firing("NodeFilesystemFull", "critical", **OF_DISK)], 41: []},
    ),
    case("16 % of the disk free", {FREE: gauge((10, 50), (0, 16))}, never(26, 60), "NodeFilesystemFull"),
    case(
        "a disk that fills up in 15 hours",
        {FREE: Values("45-0.05x100 40+0x200")},
        {55: [], 65: [firing("NodeFilesystemFilling", **OF_DISK)], 290: []},
    ),
    case(
        "a copy of a model on a disk with much room",
        {FREE: Values("90-0.3x90 63+0x100")},
        never(65, 90, 120),
        "NodeFilesystemFilling",
    ),
    case(
        "3 % of the inodes free",
        {INODES: gauge((10, 50), (30, 3), (0, 50))},
        fires("NodeInodesShort", 25, 41, **OF_DISK),
    ),
    case("6 % of the inodes free", {INODES: gauge((10, 50), (0, 6))}, never(26, 60), "NodeInodesShort"),
    case(
        "a disk with errors",
        {READONLY: gauge((10, 0), (10, 1), (0, 0))},
        fires("NodeDiskReadOnly", 12, 21, **OF_DISK),
    ),
    case(
        "a volume that a pod may only read",
        {of("node_filesystem_readonly", **{**DISK, "mountpoint": "/var/lib/kubelet/pods/x/v"}): gauge((0, 1))},
        never(5, 60),
        "NodeDiskReadOnly",
    ),
    # clock and network
    case("a clock 0.2 s late", {OFFSET: gauge((10, 0), (20, -0.2), (0, 0))}, fires("NodeClockOff", 20, 31)),
    case(
        "a clock that nobody sets",
        {SYNC: gauge((10, 1), (20, 0), (0, 1)), ERROR: gauge((10, 0.1), (20, 16), (0, 0.1))},
        fires("NodeClockOff", 20, 31),
    ),
    case("a clock 30 ms early", {OFFSET: gauge((0, 0.03)), SYNC: gauge((0, 0))}, never(11, 60), "NodeClockOff"),
    case(
        "1.5 % of the packets broken",
        {BROKEN: counter((10, 0), (30, 1800), (0, 0))},
        {20: [], 30: [firing("NodeNetworkErrors", node=NODE, device="eth0")], 60: []},
    ),
    case("0.5 % of the packets broken", {BROKEN: counter((10, 0), (0, 600))}, never(30, 60), "NodeNetworkErrors"),
    # models
    case("an agent that does not answer", {AGENT: down(20)}, fires("ModelCacheDown", 20, 31, node=NODE)),
    case("an agent that is replaced", {AGENT: down(9)}, never(18, 20), "ModelCacheDown"),
    case(
        "a source that is away until the copy is whole",
        {failures("source"): counter((10, 0), (30, 1), (0, 0)), COPY: gauge((10, 1), (28, 0), (0, 1))},
        {20: [], 27: [firing("ModelCopyFailing", node=NODE)], 39: []},
    ),
    case("no copy", {COPY: down(50)}, fires("ModelCopyMissing", 40, 61, node=NODE, revision="r1")),
    case("a copy that takes 25 minutes", {COPY: down(25)}, never(34, 36, 60), "ModelCopyMissing"),
    case(
        "another worker away",
        {failures("peer"): counter((10, 0), (0, 2)), COPY: gauge((10, 1), (28, 0), (0, 1))},
        never(27, 60),
        "ModelCopyFailing",
    ),
]


def test_causes_and_what_fires(tmp_path: Path) -> None:
    try_cases(tmp_path, GROUPS, CASES)


def test_every_alert_is_tried() -> None:
    check_coverage(GROUPS, CASES)
