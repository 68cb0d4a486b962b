"""What tools/doctor makes of a stack that is fine, of several things at once, and of answers that nobody expects."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.support import doctor
from tests.support.doctor import AWAY, NOW, STATUS, alerts, found, healthy, node
from tests.support.settings import VALID
from tools.doctor.report import JUDGES, judged, report
from tools.doctor.row import Row, as_mapping, as_table, exit_code
from tools.doctor.seen import Lines, Node, Seen


def test_a_healthy_stack_is_fine_in_every_row() -> None:
    rows = report(healthy())
    assert [row for row in rows if row.status != "ok"] == []
    assert exit_code(rows) == 0
    told = {row.subject: row.text for row in rows}
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
