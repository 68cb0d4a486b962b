"""Redis's passwords changed while chats are written, in the order in which the program applies it: nobody is ever refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import redis

from components.services.redis_files import PORT, SENTINEL_PORT
from tests.support.redis_group import INTERNAL, NAMES, PASSWORD, Group, Passwords, Writer, client, wait

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or shutil.which("haproxy") is None, reason="needs redis-server and haproxy"
)
PATIENCE = 120
"""Seconds for what takes about four, on a machine that is busy with something else."""
NEW = "another password of clients"
NEXT, AFTER = "1" * 48, "2" * 48


def whole(group: Group) -> None:
    """One primary that the proxy leads to, followed by two."""
    wait(lambda: sorted(pod.role() for pod in group.pods.values()) == ["master", "slave", "slave"], PATIENCE, group.log)
    wait(lambda: group.led_to() == [group.primary().name], PATIENCE, group.log)


def refused(where: tuple[str, int], password: str, user: str = "default") -> bool:
    try:
        with client(*where, password, user) as other:
            other.ping()
    except redis.AuthenticationError:
        return True
    return False


def test_the_clients_password_is_changed_without_a_refusal(tmp_path: Path) -> None:
    with Group(tmp_path) as group, Writer(group) as writer:
        through = ("127.0.0.1", group.port)
        assert refused(through, NEW)
        # The first `up`: both are taken, then the clients' Secret changes, which reaches each of them when it does.
        group.replace(Passwords(clients=(NEW, PASSWORD)), PATIENCE)
        writer.until_writes_go_on(PATIENCE, group.log)
        whole(group)
        assert not refused(through, PASSWORD)
        writer.password = NEW
        # The second, without `redisPasswordPrevious`.
        group.replace(Passwords(clients=(NEW,)), PATIENCE)
        writer.until_writes_go_on(PATIENCE, group.log)
        whole(group)
        assert refused(through, PASSWORD)
        assert not refused(through, NEW)
        lost, gap = writer.lost(), writer.gap
    print(f"no writes for {gap:.1f} s")
    assert writer.refused == 0
    assert lost == {}
    assert gap < PATIENCE


def test_the_members_password_is_changed_without_a_gap_in_the_group(tmp_path: Path) -> None:
    """Each generation takes its neighbours' passwords; the one that is two behind is taken nowhere."""
    with Group(tmp_path) as group, Writer(group) as writer:
        group.replace(Passwords(members=(INTERNAL, NEXT)), PATIENCE)  # a group of generation 1
        group.replace(Passwords(members=(NEXT, INTERNAL, AFTER)), PATIENCE)
        writer.until_writes_go_on(PATIENCE, group.log)
        whole(group)
        group.replace(Passwords(members=(AFTER, NEXT)), PATIENCE)
        writer.until_writes_go_on(PATIENCE, group.log)
        whole(group)
        for name in NAMES:
            address = group.pods[name].address
            assert refused((address, PORT), INTERNAL, "replica")
            assert refused((address, SENTINEL_PORT), INTERNAL)
            assert not refused((address, SENTINEL_PORT), NEXT)
            assert not refused((address, SENTINEL_PORT), AFTER)
        # A fail-over works with it: the Sentinels know each other and the members.
        old = group.primary()
        assert old.run("redis_leave.sh", seconds=PATIENCE).stderr == ""
        whole(group)
        assert group.primary() is not old
        writer.until_writes_go_on(PATIENCE, group.log)
        lost, gap = writer.lost(), writer.gap
    print(f"no writes for {gap:.1f} s")
    assert writer.refused == 0
    assert lost == {}
    assert gap < PATIENCE
