"""The control groups of the lab's containers: they name every process of a node, even of one without a monitor."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def payload(lab: str, node: str) -> str:
    return f"qvl-{lab}/{node}"


def monitor(lab: str, node: str) -> str:
    return f"qvl-{lab}-monitor/{node}"


def folders(lab: str, node: str) -> list[Path]:
    """The node's groups in every hierarchy (one per controller with cgroup v1, one in all with v2)."""
    hierarchies = [ROOT, *(path for path in ROOT.glob("*") if path.is_dir())]
    names = (payload(lab, node), monitor(lab, node))
    return [path for root in hierarchies for name in names if (path := root / name).is_dir()]


def processes(folder: Path) -> Iterator[int]:
    for path, _, _ in os.walk(folder):
        try:
            yield from (int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split())
        except OSError:
            continue


def end(lab: str, node: str, seconds: float = 5) -> None:
    """Kill whatever still runs in the node's groups, then remove the groups; waits at most `seconds`."""
    deadline = time.monotonic() + seconds
    while left := [path for path in folders(lab, node) if not remove(path)]:
        for pid in {pid for path in left for pid in processes(path)}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def remove(folder: Path) -> bool:
    """Remove a group and those below it, deepest first; False when one is still in use."""
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            Path(path).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def remove_lab(lab: str) -> None:
    """Remove the lab's empty parent groups."""
    for name in (f"qvl-{lab}", f"qvl-{lab}-monitor"):
        for folder in [ROOT / name, *ROOT.glob(f"*/{name}")]:
            if folder.is_dir():
                remove(folder)
