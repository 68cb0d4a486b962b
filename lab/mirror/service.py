"""Serving the mirror on one address: packages over HTTP on port 8081, images on port 5000."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.mirror import registry
from lab.mirror.cache import CACHE, MirrorError

APT_PORT = 8081
REGISTRY_PORT = 5000
READY_SECONDS = 15.0
PROGRAM = Path(__file__).resolve().parent / "mirror"

# The store is served from a copy, so a push (or push-image) never changes the mirror it was copied from.
REGISTRY_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {store}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "{address}:{port}", secret: {secret}}}
health: {{storagedriver: {{enabled: false}}}}
"""


@dataclass(frozen=True)
class Process:
    """A process this mirror started: its number and when the kernel started it, so that a reused number is not taken for it."""

    pid: int
    started: str

    @staticmethod
    def of(pid: int) -> Process | None:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else Process(pid, fields[19])

    def alive(self) -> bool:
        return Process.of(self.pid) == self


@dataclass(frozen=True)
class Service:
    """What runs for one pid folder."""

    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "mirror.json"

    def read(self) -> tuple[str, str, dict[str, Process]] | None:
        """Address, mirror and the processes by name, as they were started; None when nothing was."""
        if not self.record.exists():
            return None
        entry = json.loads(self.record.read_text())
        return (
            entry["address"],
            entry["mirror"],
            {name: Process(*process) for name, process in entry["processes"].items()},
        )

    def write(self, address: str, mirror: Path, processes: Mapping[str, Process]) -> None:
        """Record what was started; whole or not at all, as `stop` must be able to read it."""
        entry = {
            "address": address,
            "mirror": str(mirror),
            "processes": {name: (process.pid, process.started) for name, process in processes.items()},
        }
        scratch = self.record.with_suffix(".new")
        scratch.write_text(json.dumps(entry))
        scratch.rename(self.record)

    def running(self) -> bool:
        found = self.read()
        return found is not None and all(process.alive() for process in found[2].values())


def served(address: str) -> Path:
    """The folder served on an address: a link to the mirror's packages and a registry store of its own."""
    return CACHE / "mirror-served" / address


def all_served() -> list[Path]:
    """The served folders of all addresses, running or not."""
    return sorted((CACHE / "mirror-served").glob("*"))


def prepare(mirror: Path, address: str) -> None:
    """Point what is (or will be) served on an address at a mirror; running servers see it at once."""
    root = served(address)
    root.mkdir(parents=True, exist_ok=True)
    link = root / ".apt"
    link.unlink(missing_ok=True)
    link.symlink_to(mirror / "apt")
    link.rename(root / "apt")
    registry.copy(mirror / "registry", root / "registry")


def start(mirror: Path, address: str, folder: Path) -> bool:
    """Start both servers and wait until they answer; False when they already run. Raises MirrorError."""
    service = Service(folder)
    found = service.read()
    if found is not None and service.running():
        if found[0] != address:
            raise MirrorError(
                f"{folder}: already serving on {found[0]}; stop that first: mirror stop --pid-dir {folder}"
            )
        prepare(mirror, address)
        service.write(address, mirror, found[2])
        return False
    stop(folder)
    folder.mkdir(parents=True, exist_ok=True)
    prepare(mirror, address)
    root = served(address)
    config = root / "registry.yml"
    config.write_text(
        REGISTRY_CONFIG.format(
            store=root / "registry", address=address, port=REGISTRY_PORT, secret=os.urandom(16).hex()
        )
    )
    commands = {
        "apt": ([sys.executable, str(PROGRAM), "serve-packages", address, str(root / "apt")], APT_PORT),
        "registry": (["docker-registry", "serve", str(config)], REGISTRY_PORT),
    }
    processes: dict[str, Process] = {}
    for name, (command, port) in commands.items():
        if answers(address, port):
            raise MirrorError(f"{address}:{port}: something else listens there. End it, or serve on another address")
        with (folder / f"{name}.log").open("w") as log:
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        processes[name] = Process.of(started.pid) or Process(started.pid, "")
        service.write(address, mirror, processes)
        wait(lambda port=port: answers(address, port), started, folder / f"{name}.log", f"{address}:{port}")  # type: ignore[misc]
    return True


def wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, where: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text().strip().splitlines()
            raise MirrorError(f"{where}: not serving: {lines[-1] if lines else 'no message'}. See {log}")
        time.sleep(0.05)


def answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def stop(folder: Path) -> bool:
    """End the processes of a pid folder and forget them; False when none ran."""
    service = Service(folder)
    found = service.read()
    if found is None:
        return False
    alive = [process for process in found[2].values() if process.alive()]
    for process in alive:
        os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while any(process.alive() for process in alive) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in alive:
        if process.alive():
            os.kill(process.pid, signal.SIGKILL)
    service.record.unlink()
    return bool(alive)


class PackageHandler(SimpleHTTPRequestHandler):
    """Serves files; keeps connections open, as apt asks for hundreds of them in a row."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: object) -> None:
        """Silent: one line for each package of each node says nothing."""


def serve_packages(address: str, folder: Path) -> None:
    """Run the package server until it is told to end."""
    # The handler's folder is looked up at each request: the link may lead to another mirror by then.
    ThreadingHTTPServer((address, APT_PORT), partial(PackageHandler, directory=str(folder))).serve_forever()
