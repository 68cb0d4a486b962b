"""Run one command and say what it cost: wall time, CPU of it and everything it started, memory.

    python -m bench.measure RESULT.json TIMEOUT LOG whole|parts -- COMMAND...

It runs in a process of its own that adopts orphans (PR_SET_CHILD_SUBREAPER): background helpers a tool leaves behind, for
example OpenSSH's ControlPersist masters, are ended, waited for and counted. The server side of a benchmark is
not below this process, so it is not counted.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_SECONDS = 1.0
PARTS_SECONDS = 0.05
LINGER_SECONDS = 5.0


@dataclass(frozen=True)
class Usage:
    """Seconds and MiB. `memory_mib` is the sampled peak of the whole tree (shared pages counted once: PSS);
    `largest_mib` is the peak resident set of its largest process, exact. `parts` is the CPU by program, from samples,
    so the last twentieth of a second of each process is missing; empty unless asked for."""

    exit_code: int
    timed_out: bool
    wall: float
    cpu: float
    memory_mib: float
    largest_mib: float
    parts: dict[str, float]
    output: str

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.timed_out


def descendants(root: int) -> list[int]:
    """Process ids below `root`, leaves first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(Path("/proc", entry, "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    level = children.get(root, [])
    while level:
        found += level
        level = [child for pid in level for child in children.get(pid, [])]
    return found[::-1]


def tree_mib(root: int) -> float:
    """Proportional set size of everything below `root`, MiB."""
    total = 0
    for pid in descendants(root):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
                    break
        except OSError:
            continue
    return total / 1024


def part(command: list[str]) -> str:
    """The role of a process in an engine run, by its command line."""
    text = " ".join(command)
    roles = {
        "language-python-exec": "program",
        "pip list": "pip list",
        "provider": "provider",
        "host.server": "provider",
    }
    return next((role for mark, role in roles.items() if mark in text), Path(command[0]).name)


def sample_parts(root: int, seen: dict[int, tuple[str, float]]) -> None:
    """Note the CPU seconds so far of every process below `root`."""
    for pid in descendants(root):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if command[0]:
            seen[pid] = (part(command), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))


def end_descendants() -> None:
    """End and reap everything below this process: politely, then not."""
    deadline = time.monotonic() + LINGER_SECONDS
    sent: dict[int, int] = {}
    while pids := descendants(os.getpid()):
        wanted = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for pid in pids:
            if sent.get(pid) != wanted:
                sent[pid] = wanted
                try:
                    os.kill(pid, wanted)
                except ProcessLookupError:
                    continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue
        time.sleep(0.01)


def measured(argv: Sequence[str], timeout: float, log: Path, parts: bool) -> Usage:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    peak = 0.0
    over = threading.Event()

    seen: dict[int, tuple[str, float]] = {}

    def sample_cpu() -> None:
        while not over.wait(PARTS_SECONDS):
            sample_parts(os.getpid(), seen)

    def sample() -> None:
        nonlocal peak
        while not over.wait(SAMPLE_SECONDS):
            peak = max(peak, tree_mib(os.getpid()))

    with log.open("wb") as output:
        started = time.monotonic()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        threading.Thread(target=sample, daemon=True).start()
        if parts:
            threading.Thread(target=sample_cpu, daemon=True).start()
        try:
            code, timed_out = child.wait(timeout), False
        except subprocess.TimeoutExpired:
            code, timed_out = -1, True
        wall = time.monotonic() - started
        over.set()
        end_descendants()
    shares: dict[str, float] = {}
    for role, seconds in seen.values():
        shares[role] = round(shares.get(role, 0.0) + seconds, 2)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Usage(
        exit_code=code,
        timed_out=timed_out,
        wall=wall,
        cpu=used.ru_utime + used.ru_stime,
        memory_mib=max(peak, used.ru_maxrss / 1024),
        largest_mib=used.ru_maxrss / 1024,
        parts=shares,
        output=log.read_text(errors="replace")[-20_000:],
    )


def run(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float, log: Path, parts: bool = False
) -> Usage:
    """Run `argv` in a measuring process of its own."""
    result = log.with_suffix(".json")
    result.unlink(missing_ok=True)
    # The measuring process is Python too: what is set for the command must not change which modules it loads.
    options = [str(result), f"{timeout:g}", str(log), "parts" if parts else "whole"]
    done = subprocess.run([sys.executable, "-P", __file__, *options, "--", *argv], cwd=cwd, env=dict(env))
    if done.returncode or not result.exists():
        raise SystemExit(f"bench: measuring {argv[0]} failed (exit {done.returncode}); its output is in {log}.")
    return Usage(**json.loads(result.read_text()))


def main() -> None:
    result, timeout, log, detail, dashes, *argv = sys.argv[1:]
    if dashes != "--" or not argv:
        raise SystemExit(__doc__)
    Path(result).write_text(json.dumps(asdict(measured(argv, float(timeout), Path(log), detail == "parts"))))


if __name__ == "__main__":
    main()
