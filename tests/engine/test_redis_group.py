"""Three Redis members, their Sentinels and the proxy as real processes: whatever happens to one, chats go on and none is lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from components.services.redis_files import PORT, SENTINEL_PORT
from tests.support.redis_group import INTERNAL, NAMES, PASSWORD, Group, Writer, address, client, wait

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or shutil.which("haproxy") is None, reason="needs redis-server and haproxy"
)
PATIENCE = 40
"""Seconds for what takes about four, on a machine that is busy with something else."""


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with Group(tmp_path) as running:
        yield running


def settled(group: Group) -> None:
    """One primary, two that follow it."""
    wait(lambda: sorted(pod.role() for pod in group.pods.values()) == ["master", "slave", "slave"], PATIENCE, group.log)
    for pod in group.pods.values():
        wait(lambda pod=pod: pod.run("redis_probe.sh", "ready").returncode == 0, PATIENCE, group.log)  # type: ignore[misc]


def test_the_first_member_begins_as_the_primary_and_the_others_follow_it(group: Group) -> None:
    assert group.primary().name == "redis-0"
    settled(group)


def test_a_dead_primary_is_replaced_and_nothing_is_lost_but_what_no_replica_had(group: Group) -> None:
    with Writer(group) as writer:
        old = group.primary()
        killed = time.monotonic()
        old.kill()
        writer.until_writes_go_on(PATIENCE, group.log)
    print(f"no writes for {writer.gap:.1f} s")
    assert group.primary() is not old
    assert all(at > killed - 1 for at in writer.lost().values()), "replication is a second behind at most"
    old.create()
    settled(group)
    assert group.primary() is not old


def test_a_primary_that_was_cut_off_comes_back_as_a_replica(group: Group) -> None:
    with Writer(group) as writer:
        old = group.primary()
        cut = time.monotonic()
        old.tell(signal.SIGSTOP)
        writer.until_writes_go_on(PATIENCE, group.log)
        healed = time.monotonic()
        old.tell(signal.SIGCONT)
        settled(group)
        writer.until_writes_go_on(PATIENCE, group.log)
    assert group.primary() is not old
    assert all(cut - 1 < at < healed for at in writer.lost().values()), (
        "what it took alone before it was replaced, no later"
    )


def test_a_primary_that_leaves_hands_over_first(group: Group) -> None:
    with Writer(group) as writer:
        old = group.primary()
        left = old.run("redis_leave.sh")
        assert (left.returncode, left.stderr) == (0, "")
        old.kill()
        writer.until_writes_go_on(PATIENCE, group.log)
    assert writer.lost() == {}
    print(f"no writes for {writer.gap:.1f} s")


def test_the_proxy_goes_on_to_the_next_member_where_one_refuses(group: Group) -> None:
    """For as long as it has not seen that one is gone: here it never looks again."""
    group.pods["redis-1"].kill()
    group.pods["redis-2"].kill()
    with group.unseeing_proxy() as port:
        for _ in range(6):
            with client("127.0.0.1", port) as through:
                assert through.ping()


def test_a_container_that_is_restarted_goes_on_with_its_data(group: Group) -> None:
    with client("127.0.0.1", group.port) as through:
        through.set("chat:1", "hello")
    for name in NAMES:
        group.pods[name].restart_redis()
        settled(group)
    wait(group.writable, PATIENCE, group.log)  # the proxy looks twice a second
    with client("127.0.0.1", group.port) as through:
        assert through.get("chat:1") == b"hello"


def test_all_three_lose_power_and_come_back(group: Group) -> None:
    with client("127.0.0.1", group.port) as through:
        through.set("chat:1", "hello")
    time.sleep(1.5)  # appendfsync everysec
    for pod in group.pods.values():
        pod.kill()
    for pod in group.pods.values():
        pod.start("redis_start.sh")
        pod.start("redis_sentinel.sh")
    settled(group)
    wait(group.writable, PATIENCE, group.log)
    with client("127.0.0.1", group.port) as through:
        assert through.get("chat:1") == b"hello"


@pytest.mark.parametrize("names", [("redis-0",), ("redis-0", "redis-1")], ids=["one", "two"])
def test_a_primary_that_comes_back_empty_does_not_empty_the_others(group: Group, names: tuple[str, ...]) -> None:
    """Its pod was deleted and is there again sooner than the Sentinels miss it; with another's, even their majority is gone."""
    assert group.primary().name == "redis-0"
    with client("127.0.0.1", group.port) as through:
        through.set("chat:1", "hello")
        through.wait(2, 1000)
    for name in names:
        group.pods[name].kill()
    for name in names:
        group.pods[name].create()
    settled(group)
    wait(group.writable, PATIENCE, group.log)
    with client("127.0.0.1", group.port) as through:
        assert through.get("chat:1") == b"hello"


def test_full_memory_forgets_old_chats_and_takes_new_ones(group: Group) -> None:
    with client("127.0.0.1", group.port) as through:
        for number in range(200):
            through.set(f"chat:{number}", "x" * 1_000_000, ex=3600)
        assert through.get("chat:199") is not None
        assert 0 < through.dbsize() < 70, "200 MB do not fit into 64 MiB"
    settled(group)


@pytest.mark.parametrize(
    "command",
    [
        ("PUBLISH", "__sentinel__:hello", "x"),
        ("REPLICAOF", "NO", "ONE"),
        ("FAILOVER",),
        ("CONFIG", "GET", "masterauth"),
    ],
    ids=lambda command: command[0],
)
def test_a_client_has_no_say_in_who_is_the_primary(group: Group, command: tuple[str, ...]) -> None:
    with client("127.0.0.1", group.port) as through, pytest.raises(redis.ResponseError, match=r"(?i)no permission"):
        through.execute_command(*command)


def test_nobody_gets_in_without_a_password(group: Group) -> None:
    for port in (PORT, SENTINEL_PORT):
        with client(address("redis-0"), port, "wrong-password") as other, pytest.raises(redis.AuthenticationError):
            other.ping()


def test_no_list_of_processes_shows_a_password(group: Group) -> None:
    with Writer(group):
        for pod in group.pods.values():
            pod.start("redis_probe.sh")
        shown = "".join(
            subprocess.run(["ps", "axwwe"], capture_output=True, text=True, check=True).stdout for _ in range(50)
        )
    assert "redis-server" in shown
    assert INTERNAL not in shown
    assert PASSWORD not in shown
