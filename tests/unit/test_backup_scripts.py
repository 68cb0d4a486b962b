"""backup_keeper.sh, watch_backup.sh and the seed of a new start, by table."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import get_args

import pytest

from components.cluster import backup
from components.settings.backup import Backup
from tests.support.scripts import FakeNode, Ran

KEEPER = "components/hosts/scripts/backup_keeper.sh"
WATCH = "components/cluster/scripts/watch_backup.sh"
HOME = "/var/lib/qwen3-vl-backups"
HAS_USER = 'echo "qwen3-vl-backup:x:999:999::$HOME_FOLDER:/bin/bash"'


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def keeper(node: FakeNode, verb: str) -> Ran:
    return node.run(KEEPER, verb, KEEPER="qwen3-vl-backup", HOME_FOLDER=f"{node.root}{HOME}")


def test_a_keeper_gets_a_user_that_no_password_opens_and_a_folder(node: FakeNode) -> None:
    node.programs = {"getent": "exit 2", "useradd": "", "install": ""}
    assert keeper(node, "check").output == "drifted: no user qwen3-vl-backup\n"
    ran = keeper(node, "apply")
    assert ran.code == 0
    (made,) = [call for call in ran.calls if call.startswith("useradd")]
    assert "--system" in made
    assert "--password *" in made
    assert [call for call in ran.calls if call.endswith(f"{HOME}/received")]


def test_a_keeper_is_left_alone_and_a_foreign_user_is_refused(node: FakeNode) -> None:
    node.programs = {"getent": HAS_USER, "stat": 'echo "$KEEPER 700"'}
    assert keeper(node, "check").output == "unchanged: keeps backups of etcd\n"
    node.programs["stat"] = "echo root 755"
    assert keeper(node, "check").code == 1
    node.programs["getent"] = "echo qwen3-vl-backup:x:1:1::/home/somebody:/bin/bash"
    refused = keeper(node, "check")
    assert refused.code == 2
    assert "another home folder" in refused.errors


def watch(node: FakeNode, verb: str) -> Ran:
    return node.run(WATCH, verb, EVERY_HOURS="6")


def test_without_etcd_there_is_nothing_to_watch(node: FakeNode) -> None:
    assert watch(node, "check").output == "unchanged: no etcd here yet\n"


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (None, "drifted: etcd has never been saved here\n"),
        (12.5, "unchanged: etcd was saved 12 h ago\n"),
        (13.5, "drifted: etcd was saved 13 h ago, every 6 h is wanted\n"),
    ],
)
def test_a_control_plane_that_is_not_saved_is_named(node: FakeNode, hours: float | None, said: str) -> None:
    age(node, hours)
    ran = watch(node, "check")
    assert (ran.code, ran.output) == (1 if said.startswith("drifted") else 0, said)


def age(node: FakeNode, hours: float | None) -> None:
    node.write("/etc/kubernetes/manifests/etcd.yaml")
    if hours is not None:
        node.write(f"{HOME}/own/etcd-master-1-20261128T000000Z.cms")
        then = time.time() - hours * 3600
        os.utime(node.root / f"{HOME}/own/etcd-master-1-20261128T000000Z.cms".lstrip("/"), (then, then))


def test_up_saves_it_and_goes_on_where_that_fails(node: FakeNode) -> None:
    age(node, None)
    node.programs = {"journalctl": "echo no copy of x at: storage-1"}
    ran = watch(node, "apply")
    assert (ran.code, ran.output) == (0, "etcd is saved\n")
    assert "systemctl start etcd-backup.service" in ran.calls
    node.programs["systemctl"] = "exit 1"
    ran = watch(node, "apply")
    assert (ran.code, ran.output) == (0, "no complete backup yet, it is tried again: no copy of x at: storage-1\n")


def test_a_new_start_begins_with_what_a_restore_left(node: FakeNode) -> None:
    node.write("/etc/kubeadm/init.yaml")
    node.write(f"{HOME}/restore/snapshot.db")
    seeded = f'mkdir -p "$NODE_ROOT/var/lib/etcd/member"; rm -r "$NODE_ROOT{HOME}/restore"'
    node.programs = {"etcd-backup": seeded}
    environment = {
        "NODE_NAME": "master-1",
        "NODE_ADDRESS": "192.0.2.11",
        "NODE_ROLE": "control-plane",
        "API_ENDPOINT": "192.0.2.10:6443",
    }
    ran = node.run("components/cluster/scripts/join_control_plane.sh", "apply", **environment)
    assert ran.code == 0, ran.errors
    made = [call.split()[:2] for call in ran.calls if call.startswith(("kubeadm", "etcd-backup"))]
    assert made == [["etcd-backup", "seed"], ["kubeadm", "init"]], "kubeadm goes on with the data, and resets nothing"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_every_choice_of_the_timer() -> None:
    for hours in get_args(Backup.model_fields["every_hours"].annotation):
        (line,) = [line for line in backup.timer(hours).splitlines() if line.startswith("OnCalendar=")]
        command = ["systemd-analyze", "calendar", line.removeprefix("OnCalendar=")]
        said = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "TZ": "UTC"}
        ).stdout
        assert said.count("Next elapse") == 1
