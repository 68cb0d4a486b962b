"""The lab's record of its nodes: additions and removals outlive commands, crashes and edits of the topology file."""

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab import base, topology
from lab.machine import LabError
from lab.store import Members, Store, write_whole
from lab.topology import Node

GPU_9 = Node("gpu-9", "worker", IPv4Address("10.77.0.29"), 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(topology.load("lab"), tmp_path)
    made.lab.mkdir()
    return made


def names(members: Members, store: Store) -> list[str]:
    return [node.name for node in members.nodes(store.topology)]


def test_members_come_back_as_they_were_saved(store: Store) -> None:
    members = Members().with_node(GPU_9).without("gpu-2", store.topology).remembering(store.topology)
    store.save(members)
    assert store.members() == members
    assert names(members, store) == ["master-1", "master-2", "master-3", "gpu-1", "storage-1", "gpu-9"]


def test_a_removed_machine_may_return_and_its_old_address_stays_used(store: Store) -> None:
    before = Members().remembering(store.topology)
    removed = before.without("gpu-2", store.topology).remembering(store.topology)
    assert IPv4Address("10.77.0.22") in removed.used
    replacement = Node("gpu-2", "worker", IPv4Address("10.77.0.23"), 1)
    back = removed.with_node(replacement)
    assert [node for node in back.nodes(store.topology) if node.name == "gpu-2"] == [replacement]
    assert back.removed == ()


def test_removing_an_added_machine_leaves_no_trace_but_its_address(store: Store) -> None:
    members = Members().with_node(GPU_9).remembering(store.topology).without("gpu-9", store.topology)
    assert members.added == ()
    assert members.removed == ()
    assert GPU_9.address in members.remembering(store.topology).used


def test_the_published_list_says_how_to_reach_every_node(store: Store) -> None:
    store.save(Members().with_node(GPU_9))
    data = json.loads(store.members_file.read_text())
    assert data["user"] == "root"
    assert data["key"] == str(store.key)
    assert data["known_hosts"] == str(store.known_hosts)
    assert {"name": "gpu-9", "role": "worker", "address": "10.77.0.29", "gpus": 1} in data["nodes"]


def test_a_torn_record_reads_as_no_record(store: Store) -> None:
    store.members_file.write_text('{"added": [')
    assert store.members() == Members()


def test_an_unknown_node_is_refused_with_the_names_there_are(store: Store) -> None:
    with pytest.raises(LabError, match="lab lab: not up"):
        store.require_member("gpu-1")
    store.save(Members())
    assert store.require_member("gpu-1").gpus == 1
    with pytest.raises(LabError, match="gpu-7: no node of lab lab; one of master-1, master-2"):
        store.require_member("gpu-7")


def test_known_hosts_pins_every_node_by_address_and_name(store: Store) -> None:
    for node in store.topology.nodes:
        keys = store.node(node.name) / "host-keys"
        keys.mkdir(parents=True)
        (keys / "ssh_host_ed25519_key.pub").write_text(f"ssh-ed25519 KEY-OF-{node.name} root@{node.name}\n")
    store.write_known_hosts(Members())
    lines = store.known_hosts.read_text().splitlines()
    assert len(lines) == 6
    assert lines[0] == "10.77.0.11,master-1 ssh-ed25519 KEY-OF-master-1"


def test_the_lock_file_goes_with_the_lab(store: Store) -> None:
    lock = store.root / "lab.lock"
    with store.lock():
        assert lock.exists()
    assert lock.exists()
    store.lab.rmdir()
    with store.lock():
        pass
    assert not lock.exists()


def test_write_whole_leaves_an_equal_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "one")
    before = path.stat().st_ino
    write_whole(path, "one")
    assert path.stat().st_ino == before
    write_whole(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_base_counts_only_when_finished(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    (path / "etc").mkdir(parents=True)
    (path / "sbin").mkdir()
    assert base.read(path) is None
    (path / "etc/lab-base").write_text("identity\n")
    assert base.read(path) is None
    (path / "sbin/init").write_text("")
    assert base.read(path) == base.Base(path, "identity")


def test_bases_in_use_are_those_of_every_lab_and_a_torn_record_counts_for_none(store: Store) -> None:
    for path, text in (
        ("lab/nodes/a", '{"base": "one"}'),
        ("small/nodes/b", '{"base": "two"}'),
        ("small/nodes/c", "{"),
    ):
        (store.root / path).mkdir(parents=True)
        (store.root / path / "node.json").write_text(text)
    assert store.used_bases() == {"one", "two"}


def test_prune_keeps_the_current_base_and_those_under_nodes(tmp_path: Path) -> None:
    for name in (base.digest(), "under-a-node", "left-over", "crashed.partial"):
        (tmp_path / name).mkdir()
    assert sorted(base.prune(tmp_path, ["under-a-node"])) == ["crashed.partial", "left-over"]
    assert base.prune(tmp_path, ["under-a-node"], everything=True) == [base.digest()]
    assert (tmp_path / "under-a-node").exists()
