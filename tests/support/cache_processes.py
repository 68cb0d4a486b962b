"""Model cache agents, an NFS server and a small checkpoint as real processes and files on loopback."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from components.hosts.nfs_export import ganesha_files
from tests.support.chat_processes import ROOT, Process, fetch, free_port, metric

MODEL = "Qwen/Qwen3-VL-4B-Instruct"
FOLDER = "Qwen3-VL-4B-Instruct"
IMAGE = ROOT / "images/model-cache"
PATIENCE_SECONDS = 120.0


def checkpoint(root: Path, revision: str, *, shards: int = 4, shard_bytes: int = 4 << 20, seed: int = 1) -> Path:
    """A revision's folder as a source has it: config, shards of random bytes, SHA256SUMS."""
    folder = root / FOLDER / revision
    folder.mkdir(parents=True)
    draw = random.Random(f"{seed}-{revision}")  # noqa: S311 - repeatable on purpose
    (folder / "config.json").write_text(json.dumps({"architectures": ["Qwen3VLForConditionalGeneration"]}))
    (folder / "empty.txt").write_text("")
    for number in range(1, shards + 1):
        (folder / f"model-{number:05}-of-{shards:05}.safetensors").write_bytes(draw.randbytes(shard_bytes))
    write_sums(folder)
    return folder


def write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    lines = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (folder / "SHA256SUMS").write_text(lines)


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder, without what the cache adds."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".model-cache")}


class Ganesha(Process):
    """NFS-Ganesha with the very configuration a storage node gets, but for port, address and the folder of its own state."""

    def __init__(self, export: Path, port: int = 0, *, reader: str = "127.0.0.1", writer: str | None = None) -> None:
        super().__init__("ganesha", port or free_port())
        self._export, self._reader, self._writer = export, reader, writer

    def command(self) -> list[str]:
        config = self._directory / "ganesha.conf"
        writer = IPv4Address(self._writer) if self._writer else None
        text = ganesha_files(str(self._export), (IPv4Network(self._reader),), writer)["/etc/ganesha/ganesha.conf"]
        core = f"NFS_CORE_PARAM {{\n  NFS_Port = {self.port};\n  Bind_addr = 127.0.0.1;\n"
        own = text.replace("NFS_CORE_PARAM {\n", core).replace(
            "RecoveryBackend = fs;", f'RecoveryBackend = fs;\n  RecoveryRoot = "{self._directory}";'
        )
        config.write_text(own)
        return ["ganesha.nfsd", "-F", "-f", str(config), "-L", "STDERR", "-p", str(self._directory / "pid")]

    @property
    def url(self) -> str:
        return f"nfs://127.0.0.1{self._export}?nfsport={self.port}"


class Agent(Process):
    """One worker's agent; `cache` outlives it, as a worker's disk does."""

    def __init__(
        self, node: str, cache: Path, source: str, revision: str, flags: tuple[str, ...] = (), port: int = 0
    ) -> None:
        super().__init__(f"agent-{node}", port or free_port())
        self.node, self.cache, self.revision = node, cache, revision
        self.peers: list[str] = []
        self._source, self._flags = source, flags
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def copy(self) -> Path:
        return self.cache / "revisions" / self.revision / FOLDER

    def command(self) -> list[str]:
        self.cache.mkdir(parents=True, exist_ok=True)
        place = ["--cache", str(self.cache), "--host", "127.0.0.1", "--port", str(self.port), "--node", self.node]
        what = ["--model", MODEL, "--revision", self.revision, "--source", self._source]
        with_others = ["--peers", ",".join(self.peers)] if self.peers else []
        quick = ["--deadline-seconds", "3", "--settle-seconds", "1", "--reserve-percent", "0", *self._flags]
        return [sys.executable, "-m", "model_cache", "agent", *what, *place, *with_others, *quick]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(IMAGE)}

    def complete(self) -> bool:
        try:
            return fetch(f"{self.url}/ready")[0] == 200
        except OSError:
            return False

    def received(self, origin: str) -> float:
        return metric(f"{self.url}/metrics", f'model_cache_received_bytes_total{{origin="{origin}"}}')

    def number(self, name: str) -> float:
        return metric(f"{self.url}/metrics", name)

    def stopped(self) -> int:
        """Exit status after a polite request to end."""
        self.signal(signal.SIGTERM)
        return self.wait()


class Holder(Agent):
    """What stands beside the engine in a pod."""

    def command(self) -> list[str]:
        place = ["--cache", str(self.cache), "--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "model_cache", "hold", "--model", MODEL, "--revision", self.revision, *place]


def know_each_other(agents: Iterable[Agent]) -> None:
    known = list(agents)
    for agent in known:
        agent.peers = [f"127.0.0.1:{each.port}" for each in known]
        if len(known) == 1:
            agent.peers = []


def wait_until(
    condition: Callable[[], bool], what: str, show: Iterable[Process] = (), within: float = PATIENCE_SECONDS
) -> None:
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not {what} within {within:.0f} s\n" + "\n".join(each.output() for each in show))
        time.sleep(0.05)


def staged(agent: Agent) -> int:
    """Bytes a fill under way has so far."""
    folder = agent.cache / "incoming" / agent.revision
    return sum(path.stat().st_size for path in list(folder.rglob("*")) if path.is_file()) if folder.exists() else 0


__all__ = [
    "FOLDER",
    "MODEL",
    "Agent",
    "Ganesha",
    "Holder",
    "checkpoint",
    "content",
    "know_each_other",
    "staged",
    "wait_until",
]
