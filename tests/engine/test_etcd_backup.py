"""Backups of etcd with the real etcd: three members with TLS, saved, encrypted, kept elsewhere, lost, restored, read."""

from __future__ import annotations

import asyncio
import copy
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.settings import Settings
from components.settings.nodes import Node
from host.errors import HostError, Unreachable
from tests.support.certificates import issue
from tests.support.etcd_cluster import ControlPlane, Group
from tests.support.settings import VALID
from tools import restore_etcd
from tools.restore_etcd import Backup, Nodes, RestoreProblem

KEY = "/registry/configmaps/default/canary"


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with Group(tmp_path) as running:
        yield running


def settings(group: Group) -> Settings:
    nodes: list[dict[str, Any]] = [{"name": n.name, "address": n.address, "role": "control-plane"} for n in group.nodes]
    nodes.append({"name": "gpu-1", "address": "127.0.88.21", "role": "worker", "gpus": 1})
    over = {"nodes": nodes, "inference": {"replicas": 1, "allowOutage": True}, "modelStore": {"kind": "folder"}}
    # Loopback addresses are refused as nodes; these have no others.
    return Settings.model_validate({**copy.deepcopy(VALID), **over})


class HereNodes(Nodes):
    """The tool's way to the nodes without SSH: the same script with the same input, in the folders of the group."""

    def __init__(self, group: Group, away: tuple[str, ...] = ()) -> None:
        self.group, self.away = {node.name: node for node in group.nodes}, away

    async def run(self, node: Node, verb: str, data: bytes = b"", **environment: str) -> bytes:
        if node.name in self.away:
            raise Unreachable(f"{node.name}: no answer; it must be reachable. Start it.")
        place = self.group[node.name]
        done = await asyncio.to_thread(place.run, "restore_etcd.sh", verb, data, READY_SECONDS="120", **environment)
        if done.returncode:
            raise HostError(f"{node.name}: {verb}: {done.stderr.decode()}")
        return done.stdout


def restore(group: Group, snapshot: str, away: tuple[str, ...] = (), key: str = "") -> None:
    nodes = HereNodes(group, away)
    asyncio.run(restore_etcd.restore(settings(group), nodes, snapshot, key or group.reader.key_pem, confirmed=True))


def save(node: ControlPlane, verb: str = "now") -> str:
    done = node.run("etcd_backup.sh", verb)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def texts(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_all_is_lost_but_the_backups_and_comes_back_as_it_was(group: Group) -> None:
    first, second, third = group.nodes
    group.etcdctl(first, "put", KEY, "before")
    said = save(first)
    (name,) = first.backups()
    assert said.startswith(f"saved {name}: ")
    for keeper in ("master-2", "master-3", "storage-1"):
        assert f"{keeper}: took {name}\n" in said
        assert (group.folder / keeper / "var/lib/qwen3-vl-backups/received" / name).exists()
    shown = first.path("/var/lib/node-exporter/textfile/etcd-backup.prom")
    at = int(first.path(f"/var/lib/qwen3-vl-backups/own/{name}").stat().st_mtime)
    assert shown.read_text() == f"etcd_backup_last_result 1\netcd_backup_last_success_timestamp_seconds {at}\n"
    assert shown.stat().st_mode & 0o777 == 0o644, "node-exporter is nobody"
    group.etcdctl(second, "put", KEY, "after")
    group.etcdctl(second, "put", f"{KEY}-2", "after")
    revision = int(re.findall(r'"revision":(\d+)', group.etcdctl(second, "get", KEY, "-w", "json"))[0])
    second.write("/etc/kubernetes/apiserver/encryption.yaml", "keys of another time\n")
    shutil.rmtree(first.path("/var/lib/qwen3-vl-backups/own"))  # only copies are left

    restore(group, "latest")

    group.until_healthy()
    for node in group.nodes:
        assert group.etcdctl(node, "get", KEY, "--print-value-only") == "before\n"
        assert group.etcdctl(node, "get", f"{KEY}-2") == ""
        assert not node.path("/var/lib/qwen3-vl-backups/restore").exists(), "what was staged holds keys in clear"
        assert len(list(node.path("/var/lib/etcd").glob("before-restore-*"))) == 1
        assert node.path("/etc/kubernetes/manifests/kube-scheduler.yaml").exists()
        assert not node.path("/etc/kubernetes/stopped-for-restore").exists()
    assert second.path("/etc/kubernetes/apiserver/encryption.yaml").read_text() == "the keys of Secrets\n"
    members = group.etcdctl(third, "member", "list")
    assert sorted(line.split(", ")[2] for line in members.splitlines()) == ["master-1", "master-2", "master-3"]
    # A client that watches from where it was is told to read anew, and writes go on.
    now = int(re.findall(r'"revision":(\d+)', group.etcdctl(first, "get", KEY, "-w", "json"))[0])
    assert now > revision + 900_000_000
    group.etcdctl(first, "put", KEY, "again")
    assert group.etcdctl(third, "get", KEY, "--print-value-only") == "again\n"


def test_a_restore_that_broke_off_is_begun_again(group: Group) -> None:
    """The second node fails in the middle: it may be on the old data, others on the restored."""
    first, second, _ = group.nodes
    group.etcdctl(first, "put", KEY, "before")
    save(first)
    group.etcdctl(first, "put", KEY, "after")
    broken = second.path("/var/lib/etcd/.restored")
    broken.write_text("in the way")
    broken.chmod(0o000)
    subprocess.run(["chattr", "+i", str(broken)], check=False)
    immutable = "i" in subprocess.run(["lsattr", str(broken)], capture_output=True, text=True).stdout.split(" ")[0]
    if not immutable:
        broken.unlink()
        second.path("/var/lib/qwen3-vl-backups/restore").mkdir()
        pytest.skip("this file system keeps no file from root")
    try:
        with pytest.raises(HostError, match="master-2: restore"):
            restore(group, "latest")
    finally:
        subprocess.run(["chattr", "-i", str(broken)], check=True)
    restore(group, "latest")
    group.until_healthy()
    assert {group.etcdctl(node, "get", KEY, "--print-value-only") for node in group.nodes} == {"before\n"}


def test_bare_nodes_get_what_a_new_start_goes_on_with(group: Group, tmp_path: Path) -> None:
    """After the loss of all control planes: keys and data are put on the first, and `up` starts the cluster there."""
    first = group.nodes[0]
    group.etcdctl(first, "put", KEY, "before")
    save(first)
    kept = tmp_path / "kept.cms"
    shutil.copy(first.path("/var/lib/qwen3-vl-backups/own") / first.backups()[0], kept)
    for node in group.nodes:
        node.lost = True
        shutil.rmtree(node.path("/etc/kubernetes"))
    end = time.monotonic() + 60
    while any(node.etcd or node.api for node in group.nodes):
        assert time.monotonic() < end
        time.sleep(0.1)
    for node in group.nodes:
        shutil.rmtree(node.path("/var/lib/etcd/member"))
    kubeadm = '#!/bin/bash\n[[ "$1 $2 $3" == "config images list" ]] && echo registry/etcd:v1\n'
    (group.bin / "kubeadm").write_text(kubeadm)
    (group.bin / "kubeadm").chmod(0o755)

    restore(group, str(kept))
    assert not group.nodes[1].path("/var/lib/qwen3-vl-backups/restore").exists(), "they join"
    assert first.run("etcd_backup.sh", "seed").returncode == 0
    assert first.path("/var/lib/etcd/member/snap/db").exists()
    assert not first.path("/var/lib/qwen3-vl-backups/restore").exists()
    for name, text in group.keys.items():
        path = first.path(f"/etc/kubernetes/{name}")
        assert path.read_text() == text
        assert oct(path.stat().st_mode)[-3:] == ("644" if name.endswith((".crt", ".pub")) else "600")


def test_nothing_of_a_backup_can_be_read_without_the_key(group: Group) -> None:
    first = group.nodes[0]
    group.etcdctl(first, "put", KEY, "a-value-that-nobody-sees")
    save(first)
    sealed = texts(first.path("/var/lib/qwen3-vl-backups")) + texts(group.folder / "storage-1")
    for secret in (b"a-value-that-nobody-sees", b"ca.key of the cluster", b"the keys of Secrets"):
        assert secret not in sealed
    content = (first.path("/var/lib/qwen3-vl-backups/own") / first.backups()[0]).read_bytes()
    assert Backup.opened(content, group.reader.key_pem).about.startswith('{"hash":')
    changed = content[:-2000] + bytes([content[-2000] ^ 1]) + content[-1999:]
    for sealed, key in ((content, issue("another").key_pem), (changed, group.reader.key_pem)):
        with pytest.raises(RestoreProblem, match="does not open"):
            Backup.opened(sealed, key)


def test_backups_of_others_are_refused_before_anything_is_stopped(group: Group, tmp_path: Path) -> None:
    """Of another cluster, by the digest of its authority; or made by somebody who has the public half of the key only."""
    first, second, _ = group.nodes
    save(first)
    good = first.path("/etc/kubernetes/pki/ca.crt").read_text()
    first.write("/etc/kubernetes/pki/ca.crt", "of another cluster\n")
    with pytest.raises(RestoreProblem, match="of another cluster than master-1"):
        restore(group, "latest")
    first.write("/etc/kubernetes/pki/ca.crt", good)
    second.write("/etc/kubernetes/pki/ca.key", "what a stranger cannot know\n")
    with pytest.raises(HostError, match="not made by a control plane of this cluster"):
        restore(group, "latest")
    with pytest.raises(RestoreProblem, match="All control planes have to answer"):
        restore(group, "latest", away=("master-3",))
    with pytest.raises(RestoreProblem, match="no such file"):
        restore(group, "etcd-master-9-20260101T000000Z.cms")
    group.until_healthy()


def test_a_keeper_that_was_away_gets_the_newest_later_and_no_snapshot_is_made_for_it(group: Group) -> None:
    first = group.nodes[0]
    with group.keeper_away("master-2"):
        done = first.run("etcd_backup.sh", "now")
        assert done.returncode == 1
        assert b"no copy of" in done.stderr
        assert b"No route to host" in done.stderr
    shown = first.path("/var/lib/node-exporter/textfile/etcd-backup.prom")
    assert shown.read_text() == "etcd_backup_last_result 0\n", "what is not at every keeper is no success"
    (name,) = first.backups()
    assert group.nodes[2].backups("received") == [name]
    said = save(first, "run")
    assert f"master-2: took {name}\n" in said
    assert f"master-3: has {name}\n" in said
    succeeded = shown.read_text().splitlines()
    assert succeeded[0] == "etcd_backup_last_result 1"
    assert first.backups() == [name]
    with group.keeper_away("master-2"):
        assert first.run("etcd_backup.sh", "now").returncode == 1
    assert shown.read_text().splitlines() == ["etcd_backup_last_result 0", succeeded[1]], "the time of the one before"


def test_old_ones_go_and_the_newest_stays(group: Group) -> None:
    first = group.nodes[0]
    own = first.path("/var/lib/qwen3-vl-backups/own")
    save(first)
    (real,) = first.backups()
    for number in range(4):
        (own / f"etcd-master-1-2026010{number + 1}T000000Z.cms").write_text("old")
    year = time.time() - 365 * 86400
    os.utime(own / "etcd-master-1-20260104T000000Z.cms", (year, year))
    save(first, "run")
    assert first.backups() == ["etcd-master-1-20260103T000000Z.cms", real], "three at most, and none of last year"
    for path in own.glob("etcd-*.cms"):
        os.utime(path, (year, year))
    save(first, "run")
    (made,) = first.backups()
    assert (own / made).stat().st_mtime > year + 86400, "it was due"


def test_without_etcd_there_is_an_error_and_nothing_is_left_in_clear(group: Group) -> None:
    first = group.nodes[0]
    first.lost = True
    end = time.monotonic() + 60
    while first.etcd:
        assert time.monotonic() < end
        time.sleep(0.1)
    done = first.run("etcd_backup.sh", "now")
    assert done.returncode == 1
    assert b"etcd gives no snapshot: " in done.stderr
    assert [path.name for path in first.path("/var/lib/qwen3-vl-backups/own").iterdir()] == [".lock"]
