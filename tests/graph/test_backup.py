"""Backups of etcd in the graph: who saves, who keeps, who holds which key, and what another list of nodes changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.backups import FOLDER
from components.cluster import backup
from components.hosts.firewall import RULES
from tests.support.cluster import build, provider, settings
from tests.support.graph import Graph, Secret, record
from tests.support.settings import VALID

AUTHORIZED_KEYS = f"{FOLDER}/.ssh/authorized_keys"
LOGIN = f"{backup.CONFIG}/login.pem"


def graph(**over: Any) -> Graph:
    return record(lambda: build(settings(over)), provider)


@pytest.fixture(scope="module")
def whole() -> Graph:
    return graph()


def files(found: Graph, name: str) -> dict[str, Any]:
    read: dict[str, Any] = found.named(name).inputs["files"]
    return read


def keepers(found: Graph) -> set[str]:
    bases = [r.name.removesuffix("-base") for r in found.resources if r.name.endswith("-base")]
    return {name for name in bases if AUTHORIZED_KEYS in files(found, f"{name}-base")}


def savers(found: Graph) -> set[str]:
    members = [r.name.removesuffix("-member") for r in found.resources if r.name.endswith("-member")]
    return {name for name in members if LOGIN in files(found, f"{name}-member")}


def test_control_planes_save_and_all_that_are_no_workers_keep(whole: Graph) -> None:
    assert savers(whole) == {"master-1", "master-2", "master-3"}
    assert keepers(whole) == {"master-1", "master-2", "master-3", "storage-1"}


def test_each_copies_to_every_other_one_and_knows_its_host_key(whole: Graph) -> None:
    found = files(whole, "master-2-member")
    assert found[f"{backup.CONFIG}/keepers"]["content"].splitlines() == [
        "master-1 qwen3-vl-backup@192.168.1.11 22",
        "master-3 qwen3-vl-backup@192.168.1.13 22",
        "storage-1 qwen3-vl-backup@192.168.1.100 22",
    ]
    names = [line.split()[0] for line in found[f"{backup.CONFIG}/known_hosts"]["content"].splitlines()]
    assert names == ["master-1", "master-3", "storage-1"]


def test_the_timer_runs_and_the_watch_comes_last(whole: Graph) -> None:
    member = whole.named("master-1-member").inputs
    assert member["units"][backup.TIMER]["enabled"]
    assert member["scripts"][-1]["name"] == "watch_backup"
    assert "OnCalendar=*-*-* 00,06,12,18:00:00 UTC" in member["files"][f"{backup.UNITS}/{backup.TIMER}"]["content"]


def test_the_login_is_secret_and_opens_one_command_from_control_planes_only(whole: Graph) -> None:
    for name in savers(whole):
        assert isinstance(files(whole, f"{name}-member")[LOGIN], Secret)
    line = files(whole, "storage-1-base")[AUTHORIZED_KEYS]["content"]
    assert line == (
        'restrict,from="192.168.1.11,192.168.1.12,192.168.1.13",'
        'command="/usr/local/lib/qwen3-vl/receive-backup 20 30" ecdsa-sha2-nistp256 AAAA etcd-backup\n'
    )


def test_the_key_that_reads_backups_is_on_no_node() -> None:
    def marked(args: Any) -> dict[str, Any]:
        found = provider(args)
        return found | ({"privateKey": "the reader's own"} if args.name == "backup-reader" else {})

    found = record(lambda: build(settings()), marked)
    assert found.named("backup-reader")
    assert "the reader's own" not in str([resource.inputs for resource in found.resources])


def test_another_worker_changes_nothing_of_it(whole: Graph) -> None:
    nodes = [*copy.deepcopy(VALID)["nodes"], {"name": "gpu-3", "address": "192.168.1.23", "role": "worker", "gpus": 1}]
    other = graph(nodes=nodes)
    for name in ("master-1-member", "master-1-base", "storage-1-base"):
        now, before = (dict(each.named(name).inputs["files"]) for each in (other, whole))
        for files in (now, before):
            files.pop(RULES, None)  # of the packet filter: a reader of the model store more
        assert now == before


def test_off_nothing_of_it_is_there() -> None:
    found = graph(kubernetes={**VALID["kubernetes"], "backup": {"enabled": False}})
    assert (savers(found), keepers(found)) == (set(), set())
    assert not found.of_type("host:index:KeyPair")


def test_where_one_node_is_everything_else_the_workers_keep() -> None:
    nodes = [
        node for node in copy.deepcopy(VALID)["nodes"] if node["name"] not in ("master-2", "master-3", "storage-1")
    ]
    found = graph(nodes=nodes, modelStore={"kind": "folder"})
    assert (savers(found), keepers(found)) == ({"master-1"}, {"gpu-1", "gpu-2"})
