"""What tools/doctor makes of what it sees: one thing broken at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support import doctor
from tests.support.doctor import AWAY, DAY, IDS, NOW, YEAR, alerts, cluster, found, healthy, node
from tools.doctor.row import Status, exit_code
from tools.doctor.seen import Lines, Seen, Served

BROKEN: list[tuple[str, Callable[[Seen], Seen], str, Status, str]] = [
    ("dead worker", lambda s: node(s, "gpu-2", AWAY), "node gpu-2", "unknown", f"not reached: {AWAY}"),
    (
        "dead worker, API",
        lambda s: cluster(node(s, "gpu-2", AWAY), {"node\tgpu-2\tTrue": "node\tgpu-2\tUnknown"}),
        "node gpu-2",
        "warning",
        "not Ready",
    ),
    (
        "not a member",
        lambda s: cluster(s, {"node\tgpu-2\tTrue\t\tv1.34.2\t1\n": ""}),
        "node gpu-2",
        "warning",
        "run `up`",
    ),
    ("cordoned", lambda s: cluster(s, {"gpu-1\tTrue\t\t": "gpu-1\tTrue\ttrue\t"}), "node gpu-1", "warning", "uncordon"),
    (
        "reboot",
        lambda s: node(s, "gpu-1", {"disk": "reboot\tlibc6 \ndisk"}),
        "node gpu-1",
        "warning",
        "a reboot (libc6)",
    ),
    (
        "full",
        lambda s: node(s, "master-1", {"633457720": "110000000"}),
        "node master-1",
        "warning",
        "/var has 10% left",
    ),
    (
        "no df",
        lambda s: node(s, "master-1", {"disk\t1055762868\t633457720\n": ""}),
        "node master-1",
        "unknown",
        "not told",
    ),
    (
        "unit",
        lambda s: node(s, "gpu-1", {"chrony.service\tactive": "chrony.service\tfailed"}),
        "node gpu-1",
        "warning",
        "chrony.service is failed",
    ),
    ("clock", lambda s: node(s, "gpu-1", {}, clockOffsetSeconds=-3.0), "node gpu-1", "warning", "-3.0 s off"),
    ("clock, far", lambda s: node(s, "gpu-1", {}, clockOffsetSeconds=99.0), "node gpu-1", "critical", "+99.0 s off"),
    (
        "older kubelet",
        lambda s: node(s, "gpu-1", {"kubelet\tv1.34.2": "kubelet\tv1.33.1"}),
        "versions",
        "warning",
        "kubelet v1.33.1 on gpu-1, wanted v1.34.2",
    ),
    (
        "newer kubelet",
        lambda s: node(s, "gpu-1", {"kubelet\tv1.34.2": "kubelet\tv1.35.0"}),
        "versions",
        "warning",
        "never newer",
    ),
    (
        "other API server",
        lambda s: node(s, "master-3", {"kube-apiserver:v1.34.2": "kube-apiserver:v1.34.1"}),
        "versions",
        "warning",
        "kube-apiserver v1.34.1 on master-3",
    ),
    (
        "certificate ends soon",
        lambda s: node(s, "master-2", {f"apiserver.crt\t{YEAR - DAY}": f"apiserver.crt\t{int(NOW + 12 * DAY)}"}),
        "certificates",
        "warning",
        "pki/apiserver.crt of master-2 ends in 12 days; run `up`",
    ),
    (
        "certificate ended",
        lambda s: node(s, "gpu-1", {f"current.pem\t{YEAR}": f"current.pem\t{int(NOW - 1)}"}),
        "certificates",
        "critical",
        "has ended; look at kubelet there",
    ),
    (
        "certificate torn",
        lambda s: node(s, "master-1", {f"admin.conf\t{YEAR}": "admin.conf\t0"}),
        "certificates",
        "warning",
        "read",
    ),
    (
        "rules by hand",
        lambda s: node(s, "gpu-1", {"unchanged: on": "drifted: the rules in force were changed by hand"}),
        "packet filter",
        "warning",
        "gpu-1: drifted: the rules in force were changed by hand; run `up`",
    ),
    (
        "one API server",
        lambda s: node(s, "master-3", {"own\t200": "own\t500"}),
        "API",
        "warning",
        "of master-3 is not ready",
    ),
    (
        "address cut off",
        lambda s: node(s, "gpu-1", {"address\t200": "address\t000"}),
        "API",
        "warning",
        "does not answer gpu-1",
    ),
    (
        "two holders",
        lambda s: node(s, "master-2", {"api\town": "holds\t192.168.1.10\napi\town"}),
        "API",
        "warning",
        "held by master-1 and master-2",
    ),
    (
        "etcd member silent",
        lambda s: node(s, "master-3", {"etcd\tstatus": "etcd\tfailed\tcurl: (7) Failed to connect\nx"}),
        "etcd",
        "warning",
        "the member of master-3 does not serve (curl: (7) Failed to connect)",
    ),
    (
        "member missing",
        lambda s: node(s, "master-1", {'"name": "master-3"': '"name": ""', '"raftTerm": "4"': '"raftTerm": "5"'}),
        "etcd",
        "warning",
        "master-3 is no member",
    ),
    (
        "alarm",
        lambda s: node(
            s,
            "master-1",
            {
                "etcd\talarms\t{": f'etcd\talarms\t{{"alarms":[{{"memberID":"{IDS["master-2"]}","alarm":"NOSPACE"}}],',
                '"raftTerm": "4"': '"raftTerm": "5"',
            },
        ),
        "etcd",
        "critical",
        "alarm NOSPACE of master-2",
    ),
    (
        "large database",
        lambda s: node(s, "master-1", {'"dbSize": "24879104"': '"dbSize": "1900000000"'}),
        "etcd",
        "warning",
        "1811 of 2048 MiB on master-1",
    ),
    (
        "no driver",
        lambda s: node(
            s,
            "gpu-1",
            {"gpu\t580.95.05, GPU-7d2f1c5e-0000-4000-8000-000000000001, [N/A]": "smi\tNVIDIA-SMI has failed"},
        ),
        "GPUs gpu-1",
        "warning",
        "nvidia-smi: NVIDIA-SMI has failed",
    ),
    (
        "other driver",
        lambda s: node(s, "gpu-1", {"580.95.05": "570.124.06"}),
        "GPUs gpu-1",
        "warning",
        "wanted 580.95.05",
    ),
    ("ECC", lambda s: node(s, "gpu-1", {"[N/A]": "4"}), "GPUs gpu-1", "warning", "4 uncorrectable memory errors"),
    (
        "Xid",
        lambda s: node(
            s, "gpu-1", {"revision": "xid\tXid (PCI:0000:01:00): 79, GPU has fallen off the bus.\nrevision"}
        ),
        "GPUs gpu-1",
        "warning",
        "79, GPU has fallen off the bus",
    ),
    (
        "GPU lost",
        lambda s: cluster(s, {"gpu-1\tTrue\t\tv1.34.2\t1": "gpu-1\tTrue\t\tv1.34.2\t0"}),
        "GPUs gpu-1",
        "warning",
        "0 of 1",
    ),
    (
        "copy under way",
        lambda s: node(
            s,
            "gpu-2",
            {"revision\tr1\n": "revision\tr0\n", '"bytes": 9': '"bytes": 3', '"message": ""': '"message": "reading"'},
        ),
        "model gpu-2",
        "warning",
        "revision r1 is not whole here (33%): reading; beside it r0",
    ),
    (
        "one replica",
        lambda s: cluster(s, {"webui\t2\t2": "webui\t2\t1"}),
        "web UI and engine",
        "warning",
        "1 of 2 are not ready",
    ),
    (
        "no replica",
        lambda s: cluster(s, {"webui\t2\t2": "webui\t2\t"}),
        "web UI and engine",
        "critical",
        "2 of 2 are not ready",
    ),
    (
        "no deployment",
        lambda s: cluster(s, {"qwen3-vl-webui": "other"}),
        "web UI and engine",
        "critical",
        "not in the cluster",
    ),
    (
        "Prometheus",
        lambda s: cluster(s, {"prometheus\t1\t1": "prometheus\t1\t"}),
        "other workloads",
        "warning",
        "prometheus 0 of 1",
    ),
    (
        "Redis member",
        lambda s: cluster(s, {"redis\t3\t3": "redis\t3\t2"}),
        "Redis",
        "warning",
        "2 of 3 ready, primary redis-0",
    ),
    (
        "no primary",
        lambda s: replace(
            s,
            redis=Lines.of(doctor.PROXY.replace('server="redis-0",state="UP"} 1', 'server="redis-0",state="UP"} 0')),
        ),
        "Redis",
        "critical",
        "no proxy knows a primary",
    ),
    ("no proxy", lambda s: replace(s, redis=Lines({})), "Redis", "unknown", "no proxy could be asked"),
    (
        "no address",
        lambda s: cluster(s, {"address\t192.168.1.200": "address\t"}),
        "gateway",
        "critical",
        "has no address",
    ),
    (
        "page down",
        lambda s: replace(s, served=Served(503, NOW + 350 * DAY)),
        "gateway",
        "critical",
        "no replica serves the page",
    ),
    (
        "gateway ends soon",
        lambda s: replace(s, served=Served(200, NOW + 20 * DAY)),
        "gateway",
        "warning",
        "ends in 20 days",
    ),
    ("gateway ended", lambda s: replace(s, served=Served(200, NOW - 1)), "gateway", "critical", "has ended"),
    (
        "not believed",
        lambda s: replace(s, served=Served(200, NOW + 99 * DAY, "Hostname mismatch")),
        "gateway",
        "warning",
        "do not believe its certificate: Hostname mismatch",
    ),
    (
        "no way there",
        lambda s: replace(s, served="192.168.1.200: timed out"),
        "gateway",
        "unknown",
        "answers 200 in the nodes' network",
    ),
    (
        "nobody there",
        lambda s: cluster(replace(s, served="192.168.1.200: timed out"), {"https\t200": "https\t000"}),
        "gateway",
        "critical",
        "nobody answers",
    ),
    (
        "warning fires",
        lambda s: replace(s, alerts=alerts(("Slow", "warning", "firing"))),
        "alerts",
        "warning",
        "Slow: what Slow says",
    ),
    (
        "critical fires",
        lambda s: replace(s, alerts=alerts(("Down", "critical", "firing"))),
        "alerts",
        "critical",
        "docs/runbooks/Down.md",
    ),
    (
        "no Prometheus",
        lambda s: replace(s, alerts="", no_alerts="connection refused"),
        "alerts",
        "unknown",
        "connection refused",
    ),
    ("question", lambda s: replace(s, no_answer="timed out"), "question", "critical", "not answered: timed out"),
]


@pytest.mark.parametrize(
    ("change", "row", "status", "text"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_what_is_broken_is_named(change: Callable[[Seen], Seen], row: str, status: Status, text: str) -> None:
    rows = found(change(healthy()))
    assert (rows[row].status, text in rows[row].text) == (status, True), rows[row]
    assert exit_code(list(rows.values())) == (2 if status == "critical" else 1)
