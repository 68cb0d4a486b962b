"""The checks that decide where the API's address is, asked of a real API server whose etcd stands still."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from components.cluster.api_endpoint import keepalived_conf
from components.settings.stack_file import stack_settings
from tests.support.kubernetes import small_cluster

pytestmark = pytest.mark.engine
LATEST_SECONDS = 30


def checks(port: int) -> dict[str, list[str]]:
    """The commands of keepalived's scripts, as its own parser takes them: words, no shell."""
    settings = stack_settings("prod")
    kubernetes = settings.kubernetes.model_copy(update={"api_port": port})
    own, *_ = settings.control_planes
    text = keepalived_conf(kubernetes, IPv4Address("192.168.1.10"), "eth0", own, settings.control_planes)
    found = re.findall(r'^vrrp_script (\w+) \{\n  script "([^"]+)"', text, re.MULTILINE)
    return {name: shlex.split(command) for name, command in found}


def fine(command: list[str]) -> bool:
    return subprocess.run(command, timeout=20).returncode == 0


def asked(commands: dict[str, list[str]]) -> dict[str, bool]:
    return {name: fine(command) for name, command in commands.items()}


def test_only_a_server_that_refuses_is_moved_away_from_at_once(tmp_path: Path) -> None:
    with small_cluster(tmp_path) as (etcd, server):
        commands = checks(server.port)
        assert asked(commands) == {"api": True, "livez": True}
        for late in (etcd, server):
            late.signal(signal.SIGSTOP)
            try:
                end = time.monotonic() + LATEST_SECONDS
                while fine(commands["livez"]):  # a server goes by what it last heard from etcd for a moment
                    assert time.monotonic() < end
                assert asked(commands) == {"api": True, "livez": False}
            finally:
                late.signal(signal.SIGCONT)
        server.kill()
        assert asked(commands) == {"api": False, "livez": False}
