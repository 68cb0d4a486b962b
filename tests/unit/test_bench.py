"""The benchmark's own judgement: what counts as a right run, and how figures become ratios."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench import measure, operations, report
from bench.contenders import Ansible, Contender, Ours, Pyinfra
from bench.farm import UNIT, Host, address
from bench.report import Sample

GOOD = Sample(100, "this project", "apply", 2.0, 1.0, 100, 90, 100, 100, 3.0, False, "")
PLANNED = [
    f"    {name:<12}   -        -                    \n" for name in ("plain file", "private file", "package", "unit")
]
ANSIBLE_LINE = "{name:<26} : ok=4    changed={changed}    unreachable=0    failed=0    skipped=0\n"


class FarmOf:
    """As much of a farm as judging an output needs."""

    def __init__(self, count: int) -> None:
        self.hosts = [Host(f"host-{i + 1:04d}", address(i), Path()) for i in range(count)]


def judge(kind: type[Contender], output: str, hosts: int = 2) -> int:
    contender = kind.__new__(kind)
    contender.farm = FarmOf(hosts)  # type: ignore[assignment]
    contender.extra = 0
    return contender.unchanged_hosts(output)


def test_every_host_has_an_address_of_its_own_within_loopback() -> None:
    addresses = [address(index) for index in range(1000)]
    assert len(set(addresses)) == 1000
    assert all(one.startswith("127.") and 1 <= int(one.rsplit(".", 1)[1]) <= 250 for one in addresses)


def test_ansible_hosts_with_a_change_are_not_counted_as_unchanged() -> None:
    recap = ANSIBLE_LINE.format(name="host-0001", changed=0) + ANSIBLE_LINE.format(name="host-0002", changed=1)
    assert judge(Ansible, recap) == 1


@pytest.mark.parametrize(
    ("output", "unchanged"),
    [
        ("    Grand total    8      -         -       8           \n", 2),
        ("    Grand total    8      1         -       7           \n", 0),
        ("".join(PLANNED), 2),
        ("".join(PLANNED[:3]), 0),
        ("    plain file     1        -                    \n", 0),
    ],
)  # fmt: skip
def test_pyinfra_is_unchanged_only_when_every_operation_is(output: str, unchanged: int) -> None:
    assert judge(Pyinfra, output) == unchanged


def test_the_engines_own_two_resources_are_not_hosts() -> None:
    assert judge(Ours, "Resources:\n    4 unchanged\n") == 2
    assert judge(Ours, "Resources:\n    ~ 1 updated\n    3 unchanged\n") == 1
    assert judge(Ours, "error: something\n") == 0


def test_findings_name_each_thing_that_is_not_as_wanted(tmp_path: Path) -> None:
    host = Host("host-0001", "127.10.0.1", tmp_path)
    assert len(operations.findings(host)) == 4
    units = tmp_path / "var/lib/farm-units"
    (tmp_path / "etc").mkdir()
    units.mkdir(parents=True)
    (tmp_path / operations.PLAIN[1:]).write_text(operations.plain_content("host-0001"))
    private = tmp_path / operations.PRIVATE[1:]
    private.write_text(operations.private_content("host-0001"))
    private.chmod(0o600)
    for state in ("enabled", "active"):
        (units / f"{UNIT}.{state}").touch()
    assert operations.findings(host) == []
    private.chmod(0o644)
    (tmp_path / operations.PLAIN[1:]).write_text(operations.plain_content("host-0002"))
    assert [finding.split(": ", 1)[1] for finding in operations.findings(host)] == [
        f"{operations.PLAIN} has other content",
        f"{operations.PRIVATE} has mode 0644, not 0600",
    ]


def test_ratios_are_over_our_median_and_say_when_a_rival_was_stopped() -> None:
    rival = replace(GOOD, tool="Ansible", wall=60.0, cpu=20.0)
    samples = [replace(GOOD, wall=wall) for wall in (1.0, 2.0, 9.0)] + [rival]
    row = next(line for line in report.table(samples) if "Ansible" in line)
    assert "| 60.0 | 30.0x | 20.0 | 20.0x |" in row
    row = next(line for line in report.table([GOOD, replace(rival, timed_out=True)]) if "Ansible" in line)
    assert "stopped at 60.0 | > 30.0x" in row


def test_a_wrong_run_gives_no_figure() -> None:
    wrong = replace(GOOD, wall=0.1, complaint="3 of 100 hosts unchanged")
    row = next(line for line in report.table([wrong]) if "this project" in line)
    assert "failed: 3 of 100 hosts unchanged" in row
    assert "0.10" not in row
    assert report.goals([wrong]) == []


def test_aims_are_told_as_met_or_missed() -> None:
    text = "\n".join(report.goals([replace(GOOD, cpu=1.6), replace(GOOD, tool="pyinfra", wall=16.0)]))
    assert "| client CPU of a no-op apply, 100 hosts, seconds at most | 1.5 | 1.60 | **missed** |" in text
    assert "| times faster than pyinfra, no-op apply, 100 hosts | 8 | 8.00 | met |" in text


def test_cpu_of_a_child_that_was_left_behind_is_counted_and_the_child_is_ended(tmp_path: Path) -> None:
    # The child says when it has used its share, so that a busy machine cannot end it before.
    burn = """
import time
while time.process_time() < 0.4:
    pass
open("burnt", "w").close()
time.sleep(60)
"""
    leave = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
while not os.path.exists("burnt"):
    time.sleep(0.05)
"""
    started = time.monotonic()
    usage = measure.run(
        [sys.executable, "-c", leave, burn],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, timeout=30, log=tmp_path / "run.log",
    )  # fmt: skip
    assert usage.ok
    assert 0.4 <= usage.cpu < 3
    assert time.monotonic() - started < 50  # not waited for: it would sleep for a minute
    assert burn not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_command_past_its_limit_is_ended_and_said_to_be(tmp_path: Path) -> None:
    usage = measure.run(
        ["sleep", "30"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, timeout=1, log=tmp_path / "run.log"
    )
    assert usage.timed_out
    assert not usage.ok
    assert 1 <= usage.wall < 10
