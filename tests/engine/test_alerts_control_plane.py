"""The alerts on what runs the cluster: each fires, clears, and leaves a near miss alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from components.observability.alerts import control_plane
from components.observability.alerts.index import everything
from tests.support.alert_cases import Case, Firing, check_coverage, firing, never, series, try_cases
from tests.support.service_series import Counter, Gauge, counter, gauge

pytestmark = pytest.mark.engine
GROUPS = control_plane.groups(replace(everything(), backup_hours=1))
A, B, C = "cp-1", "cp-2", "cp-3"
ON_A = {"node": A}
DAY = 24 * 3600
JOBS = ("kube-apiserver", "etcd", "kube-scheduler", "kube-controller-manager", "coredns")
AGENTS = ("kubelet", "kube-proxy", "node-exporter")
Found = dict[str, Gauge | Counter]


def up(job: str, node: str = A) -> str:
    return series("up", job=job, node=node, instance=f"{node}:1")


def api(code: str) -> str:
    return series("apiserver_request_total", job="kube-apiserver", node=A, verb="GET", code=code)


def took(le: str, verb: str = "GET", subresource: str = "") -> str:
    place = {"job": "kube-apiserver", "node": A}
    return series("apiserver_request_duration_seconds_bucket", **place, verb=verb, subresource=subresource, le=le)


def ending(le: str) -> str:
    return series("apiserver_client_certificate_expiration_seconds_bucket", job="kube-apiserver", node=A, le=le)


def etcd(metric: str, node: str = A, **labels: str) -> str:
    return series(metric, job="etcd", node=node, **labels)


def wrote(le: str) -> str:
    return etcd("etcd_disk_wal_fsync_duration_seconds_bucket", le=le)


def answered(rcode: str) -> str:
    return series("coredns_dns_responses_total", job="coredns", node=A, pod="coredns-x", rcode=rcode)


LEADER, CHANGES = "etcd_server_has_leader", "etcd_server_leader_changes_seen_total"
SIZE, KUBELET = etcd("etcd_mvcc_db_total_size_in_bytes"), "kubelet_certificate_manager_client_ttl_seconds"
TTL = series(KUBELET, job="kubelet", node=A)
SAVED = series("etcd_backup_last_success_timestamp_seconds", job="node-exporter", node=A)
RESULT = series("etcd_backup_last_result", job="node-exporter", node=A)
UP: Found = {up(job, node): gauge((0, 1)) for job in (*JOBS, *AGENTS) for node in (A, B, C)}
NODES_UP: Found = {up("node-exporter"): gauge((0, 1))}
API: Found = {
    api("200"): counter((0, 1000)),
    api("500"): counter((0, 0)),
    **{took(le): counter((0, 1000)) for le in ("1.0", "2.0", "+Inf")},
    ending("604800.0"): counter((0, 0)),
    ending("2.592e+06"): counter((0, 0)),
}
ETCD: Found = {
    **{etcd(LEADER, node): gauge((0, 1)) for node in (A, B, C)},
    etcd(CHANGES): counter((0, 0)),
    SIZE: gauge((0, 10)),
    etcd("etcd_server_quota_backend_bytes"): gauge((0, 100)),
    **{wrote(le): counter((0, 1000)) for le in ("0.064", "0.256", "+Inf")},
}
DNS: Found = {answered("NOERROR"): counter((0, 600)), answered("SERVFAIL"): counter((0, 0))}
REST: Found = {TTL: gauge((0, 200 * DAY)), SAVED: gauge((60, 0), (60, 3600), (0, 7200)), RESULT: gauge((0, 1))}
WELL = UP | API | ETCD | DNS | {TTL: REST[TTL], RESULT: REST[RESULT]}


def case(what: str, change: Found, expected: dict[float, list[Firing]], *near: str) -> Case:
    """With as much of the rest as the change has to do with."""
    names = {name.partition("{")[0] for name in change}
    jobs = {name.partition('job="')[2].partition('"')[0] for name in change}
    around = {
        name: path
        for name, path in WELL.items()
        if name.partition("{")[0] in names or name.partition('job="')[2].partition('"')[0] in jobs
    }
    return Case(what, {SAVED: gauge((0, 9e9)), up("coredns"): gauge((0, 1)), **around, **change}, expected, near)


def down(minutes: float, *targets: str) -> Found:
    return {target: gauge((10, 1), (minutes, 0), (0, 1)) for target in targets}


def fires(name: str, first: float, gone: float, severity: str = "warning", **labels: str) -> dict[float, list[Firing]]:
    return {first - 1: [], first + 1: [firing(name, severity, **labels)], gone: []}


def all_of(job: str) -> Iterable[str]:
    return (up(job, node) for node in (A, B, C))


FAST = counter((10, 1000), (50, 900), (0, 1000))  # a tenth takes longer, from minute 10 to 60
NO_LEADER, AWAY = firing("EtcdNoLeader", "critical"), [firing("EtcdMemberDown", node=node) for node in (A, B)]
CASES = [
    Case("nothing", {**WELL, **REST}, never(5, 30, 130)),
    # API servers
    case("no API server", down(4, *all_of("kube-apiserver")), fires("NoApiServerUp", 11, 15, "critical")),
    case("one API server", down(20, up("kube-apiserver")), fires("ApiServerDown", 15, 31, **ON_A)),
    case(
        "two API servers away for 4 minutes",
        down(4, up("kube-apiserver"), up("kube-apiserver", B)),
        never(12, 14, 16),
        "NoApiServerUp",
        "ApiServerDown",
    ),
    case(
        "4 % of the API's answers are errors",
        {api("500"): counter((10, 0), (30, 40), (0, 0))},
        {19: [], 28: [firing("ApiErrors")], 50: []},
    ),
    case("2 % of them", {api("500"): counter((10, 0), (0, 20))}, never(28, 60), "ApiErrors"),
    case("slow answers of the API", {took("1.0"): FAST}, {24: [], 32: [firing("ApiSlow", verb="GET")], 90: []}),
    case(
        "somebody reads a log for long",
        {took(le, "GET", "log"): counter((0, 0 if le == "1.0" else 9000)) for le in ("1.0", "2.0", "+Inf")},
        never(32, 60),
        "ApiSlow",
    ),
    # etcd
    case(
        "two members away",
        down(10, up("etcd"), up("etcd", B))
        | {etcd(LEADER, node): gauge((10, 1), (10, None), (0, 1)) for node in (A, B)}
        | {etcd(LEADER, C): gauge((10, 1), (10, 0), (0, 1))},
        {10: [], 12: [NO_LEADER], 16: [NO_LEADER, *AWAY], 21: []},
    ),
    case(
        "members that do not reach each other",
        {etcd(LEADER, node): gauge((10, 1), (10, 0), (0, 1)) for node in (A, B, C)},
        fires("EtcdNoLeader", 11, 21, "critical"),
    ),
    case(
        "a member away for 4 minutes",
        down(4, up("etcd")) | {etcd(LEADER): gauge((10, 1), (4, None), (0, 1))},
        never(12, 14, 16),
        "EtcdNoLeader",
        "EtcdMemberDown",
    ),
    case(
        "five elections",
        {etcd(CHANGES): counter((10, 0), (5, 1), (0, 0))},
        {15: [], 22: [firing("EtcdLeaderChanges")], 80: []},
    ),
    case("two elections", {etcd(CHANGES): counter((10, 0), (2, 1), (0, 0))}, never(20, 40), "EtcdLeaderChanges"),
    case("a slow disk", {wrote("0.064"): FAST}, {24: [], 32: [firing("EtcdDiskSlow", **ON_A)], 90: []}),
    case(
        "a disk with every hundredth and fiftieth write slow",
        {wrote("0.064"): counter((0, 992))},
        never(32, 60),
        "EtcdDiskSlow",
    ),
    case("85 % of the quota", {SIZE: gauge((10, 10), (20, 85), (0, 10))}, fires("EtcdDatabaseFull", 20, 31, **ON_A)),
    case("75 % of the quota", {SIZE: gauge((10, 10), (0, 75))}, never(21, 60), "EtcdDatabaseFull"),
    # agents
    case("a scheduler away", down(30, up("kube-scheduler")), fires("SchedulerDown", 20, 41, **ON_A)),
    case("a scheduler away for 9 minutes", down(9, up("kube-scheduler")), never(18, 21), "SchedulerDown"),
    case(
        "controllers away",
        down(30, up("kube-controller-manager")),
        fires("ControllerManagerDown", 20, 41, **ON_A),
    ),
    case(
        "controllers away for 9 minutes",
        down(9, up("kube-controller-manager")),
        never(18, 21),
        "ControllerManagerDown",
    ),
    case("a kubelet away", down(20, up("kubelet")), fires("KubeletDown", 15, 31, **ON_A)),
    case("a kube-proxy away", down(30, up("kube-proxy")), fires("KubeProxyDown", 20, 41, **ON_A)),
    case(
        "a node away",
        down(30, up("kubelet"), up("kube-proxy"), up("node-exporter")),
        never(16, 21, 35),
        "KubeletDown",
        "KubeProxyDown",
    ),
    # names
    case("no DNS", down(10, *all_of("coredns")) | NODES_UP, fires("DnsDown", 12, 21, "critical")),
    case(
        "no pod of DNS",
        {**NODES_UP, **{each: gauge((10, 1), (10, None), (0, 1)) for each in all_of("coredns")}},
        fires("DnsDown", 12, 21, "critical"),
    ),
    case("one of three DNS servers", down(30, up("coredns")), never(13, 30), "DnsDown"),
    case(
        "9 % of the names fail",
        {answered("SERVFAIL"): counter((10, 0), (30, 60), (0, 0))},
        {18: [], 28: [firing("DnsErrors")], 60: []},
    ),
    case("3 % of them", {answered("SERVFAIL"): counter((10, 0), (0, 18))}, never(28, 60), "DnsErrors"),
    # certificates
    case(
        "a client whose certificate ends in five days",
        {ending("604800.0"): counter((10, 0), (30, 1), (0, 0))},
        {24: [], 28: [firing("ClusterCertificateEnding", **ON_A)], 105: []},
    ),
    case(
        "one whose certificate ends in three weeks",
        {ending("2.592e+06"): counter((10, 0), (0, 1))},
        never(28, 90),
        "ClusterCertificateEnding",
    ),
    case(
        "a kubelet's certificate that ends in 13 days",
        {TTL: gauge((10, 200 * DAY), (30, 13 * DAY), (0, 365 * DAY))},
        fires("KubeletCertificateEnding", 25, 41, **ON_A),
    ),
    case("one that ends in 20 days", {TTL: gauge((0, 20 * DAY))}, never(26, 60), "KubeletCertificateEnding"),
    # backups, every hour
    case(
        "no backup for three hours",
        {SAVED: gauge((200, 0), (0, 200 * 60))},
        fires("BackupOld", 136, 201, **ON_A),
    ),
    case("one backup missed", {SAVED: gauge((115, 0), (0, 115 * 60))}, never(114, 121, 140, 200), "BackupOld"),
    case(
        "no backup yet, two hours after the start",
        {SAVED: gauge((150, None), (0, 150 * 60))},
        fires("BackupOld", 120, 151, job="node-exporter"),
    ),
    case("backups that fail", {RESULT: gauge((10, 1), (50, 0), (0, 1))}, fires("BackupFailed", 30, 61, **ON_A)),
    case("a backup that fails once", {RESULT: gauge((10, 1), (15, 0), (0, 1))}, never(24, 31), "BackupFailed"),
]


def test_causes_and_what_fires(tmp_path: Path) -> None:
    try_cases(tmp_path, GROUPS, CASES)


def test_every_alert_is_tried() -> None:
    check_coverage(GROUPS, CASES)


def test_nothing_fires_where_nothing_is_read(tmp_path: Path) -> None:
    """A job that is switched off is not one that is away."""
    try_cases(tmp_path, GROUPS, [Case("nothing", {series("up", job="prometheus"): gauge((0, 1))}, never(5, 130))])


def test_without_backups_nobody_asks_for_them() -> None:
    named = {group.name for group in control_plane.groups(replace(everything(), backup_hours=None))}
    assert "backups" not in named
