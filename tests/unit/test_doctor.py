"""What tools/doctor makes of what it sees: one thing broken at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support import doctor
from tests.support.doctor import DAY, IDS, NOW, STATUS, YEAR, alerts, cluster, healthy, node
from tests.support.settings import VALID
from tools.doctor.report import JUDGES, judged, report
from tools.doctor.row import Row, Status, as_mapping, as_table, exit_code
from tools.doctor.seen import Lines, Node, Seen, Served

AWAY = "no answer at 192.168.1.22:22 within 5 s"


def found(seen: Seen) -> dict[str, Row]:
    return {f"{row.about} {row.name}".strip(): row for row in report(seen)}


def test_a_healthy_stack_is_fine_in_every_row() -> None:
    rows = report(healthy())
    assert [row for row in rows if row.status != "ok"] == []
    assert exit_code(rows) == 0
    told = {f"{row.about} {row.name}".strip(): row.text for row in rows}
    assert (
        told["node gpu-1"]
        == "ubuntu 24.04, kernel 6.8.0-60-generic, kubelet v1.34.2, Ready, /var 60% free, clock +0.0 s"
    )
    assert told["versions"] == "containerd 1.7.27 (5), kube-apiserver v1.34.2 (3), kubelet v1.34.2 (5)"
    assert told["certificates"] == "the first one ends in 299 days: pki/apiserver.crt of master-1"
    assert told["packet filter"] == "confirmed on 6 of 6 nodes"
    assert told["API"] == "3 of 3 ready, 192.168.1.10 at master-1"
    assert told["etcd"] == "3 of 3 members seen at work, leader master-2, 23 MiB, 3.6.5"
    assert told["snapshots"] == "the newest is 4 h old, on master-1, master-2, master-3, storage-1; 3 in all"
    assert told["GPUs gpu-2"] == "1 of 1, driver 580.95.05, 1 for pods"
    assert told["model gpu-1"] == "Qwen3-VL-4B-Instruct r1"
    assert told["web UI and engine"] == "2 of 2 ready, scaled 2 to 2, now 2, wants 2"
    assert told["Redis"] == "3 of 3 ready, primary redis-0"
    assert told["gateway"] == "qwen3.example.com at 192.168.1.200 on gpu-2 answers 200, certificate for 350 days"
    assert told["alerts"] == "none firing"


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


@pytest.mark.parametrize("state", ["pending", "inactive"])
def test_an_alert_that_does_not_fire_yet_worries_nobody(state: str) -> None:
    row = found(replace(healthy(), alerts=alerts(("Slow", "critical", state))))["alerts"]
    assert (row.status, row.text) == ("ok", "none firing, 1 about to")


def all_of(names: tuple[str, ...], seen: Seen, swap: dict[str, str]) -> Seen:
    for name in names:
        seen = node(seen, name, swap)
    return seen


def test_no_leader_and_no_api_server_are_the_clusters_end() -> None:
    none = {f'"leader": "{STATUS["leader"]}", ': "", "own\t200": "own\t500"}
    rows = found(all_of(doctor.PLANES, healthy(), none))
    assert (rows["etcd"].status, rows["API"].status) == ("critical", "critical")


def test_snapshots_that_are_old_or_in_one_place_only() -> None:
    later = replace(healthy(), now=NOW + 10 * 3600)  # six hours are wanted
    row = found(later)["snapshots"]
    assert row.status == "warning"
    assert "master-1: is 16 h old" in row.text
    alone = healthy()
    own = doctor.SNAPSHOTS["master-1"]
    for name in ("master-2", "master-3", "storage-1"):
        alone = node(alone, name, {own: ""})
    row = found(alone)["snapshots"]
    assert (row.status, "master-1: its copies elsewhere: there is none" in row.text) == ("warning", True), row
    gone = healthy()
    for name in (*doctor.PLANES, "storage-1"):
        gone = node(gone, name, dict.fromkeys(doctor.SNAPSHOTS.values(), ""))
    assert found(gone)["snapshots"].status == "critical"
    # As long as somebody who may have one is away, nobody knows.
    assert found(node(gone, "storage-1", AWAY))["snapshots"].status == "unknown"


def test_the_threshold_of_the_disk_is_the_kubelets_own() -> None:
    kubernetes = {**VALID["kubernetes"], "kubelet": {"evictionHard": {"nodefs.available": "1Gi"}}}
    seen = node(healthy(kubernetes=kubernetes), "gpu-1", {"633457720": "9000000"})
    assert found(seen)["node gpu-1"].status == "ok"
    assert found(node(seen, "gpu-1", {"633457720": "1400000"}))["node gpu-1"].status == "warning"


def test_behind_a_bastion_the_gateway_need_not_be_in_reach() -> None:
    ssh = {**VALID["ssh"], "jump": {"address": "203.0.113.9", "user": "ops"}}
    row = found(replace(healthy(ssh=ssh), served="192.168.1.200: timed out"))["gateway"]
    assert (row.status, "answers 200 in the nodes' network" in row.text) == ("ok", True), row


def test_nothing_reached_is_unknown_and_no_crash() -> None:
    seen = replace(
        healthy(), nodes=dict.fromkeys(healthy().nodes, AWAY), cluster="nobody answered", alerts="", served="timed out"
    )
    rows = report(seen)
    assert {row.status for row in rows} == {"unknown"}, rows
    assert exit_code(rows) == 1


@pytest.mark.parametrize("name", ["gpu-1", "master-1", "storage-1"])
def test_lines_in_another_form_are_unknown_or_a_warning_and_no_crash(name: str) -> None:
    text = doctor.texts()[name]
    for torn in (text[: len(text) // 2], text.replace("\t", " "), text.replace("{", "["), "\n" + text + "\x00\n"):
        seen = replace(healthy(), nodes={**healthy().nodes, name: Node(doctor.facts(), Lines.of(torn))})
        assert all(row.text for row in report(seen))


def test_a_judgement_that_fails_is_a_row() -> None:
    def broken(seen: Seen) -> Row:
        raise KeyError("surprise")

    (row,) = judged("etcd", broken, healthy())
    assert (row.about, row.status) == ("etcd", "unknown")
    assert len({about for about, _ in JUDGES}) == len(JUDGES)


def test_table_and_json_say_the_same() -> None:
    rows = report(node(healthy(), "gpu-2", AWAY))
    told = json.loads(json.dumps(as_mapping("lab", 3.21, rows)))
    assert (told["stack"], told["status"], told["exitCode"], told["seconds"]) == ("lab", "unknown", 1, 3.2)
    lines = as_table("lab", 3.21, rows).splitlines()
    assert len(told["rows"]) == len(rows) == len(lines) - 2
    for row, line in zip(told["rows"], lines, strict=False):
        assert line.startswith(row["status"])
        assert row["text"] in line
    assert lines[-1] == "lab: unknown (3 unknown, 19 ok) after 3.2 s"
