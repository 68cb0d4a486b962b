"""The benchmark runs from end to end on a few hosts, so that it is there when it is wanted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.farm import Farm
from bench.hosts import RESULTS

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="each simulated host has mounts of its own, which needs root"),
]


def command(farm: Farm, number: int, text: str) -> str:
    """Run a command on a host of the farm, with the host key verified."""
    argv = ["ssh", "-F", "none", "-i", str(farm.private_key), "-o", f"UserKnownHostsFile={farm.known_hosts}"]
    argv += ["-o", "BatchMode=yes", "-p", str(farm.port), f"root@{farm.hosts[number].address}", text]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout


def test_each_address_is_a_host_of_its_own() -> None:
    with Farm(2) as farm:
        command(farm, 0, "hostname=$(cat /etc/hostname); echo $hostname > /etc/mine; systemctl start qwenvl-bench")
        assert (farm.hosts[0].root / "etc/mine").read_text() == "host-0001\n"
        assert command(farm, 1, "ls /etc/mine 2>/dev/null; systemctl is-active qwenvl-bench; true") == "inactive\n"
        assert command(farm, 0, "systemctl is-active qwenvl-bench") == "active\n"
        counted = farm.counters()
        assert (counted.connections, counted.commands) == (3, 3)
        folder = farm.folder
        farm.reset()
        assert not (farm.hosts[0].root / "etc/mine").exists()
    assert not folder.exists()


def test_our_side_is_right_with_one_connection_and_one_command_a_host() -> None:
    name = f"test-{os.getpid()}"
    argv = [sys.executable, "-m", "bench.hosts", "--hosts", "3", "--rivals", "ours,raw", "--runs", "1", "--name", name]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        noop = [line for line in done.stderr.splitlines() if "this project" in line and "create" not in line]
        assert len(noop) == 2
        assert all("3 connections  3 commands" in line for line in noop)
        assert (RESULTS / f"{name}.md").read_text() in done.stdout
    finally:
        for result in RESULTS.glob(f"{name}.*"):
            result.unlink()
