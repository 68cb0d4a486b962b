"""A Sentinel whose connection the network refused and then took: it spins, and the probe says so; another does not.

In a network of its own, whose packet filter refuses like kube-proxy does for a Service without pods. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.services.redis_files import PORT, SENTINEL_PORT, sentinel_users
from tests.support.chat_processes import ROOT
from tests.support.pod_network import ip
from tests.support.redis_group import INTERNAL, wait

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
NETWORK = f"qwenvl-stuck-{os.getpid()}"
SCRIPT = ROOT / "components/services/scripts/redis_sentinel_probe.sh"
REFUSING = f"table inet it {{ chain out {{ type filter hook output priority 0; tcp dport {PORT} reject; }}; }}"


class Stage:
    """Programs in a network of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        for name in ("state", "access", "files"):
            (folder / name).mkdir()
        (folder / "access/internal").write_text(INTERNAL)
        (folder / "files/members").write_text("it 127.0.0.1\n")

    def run(self, *command: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
        inside = ["ip", "netns", "exec", NETWORK, *command]
        return subprocess.run(inside, input=said, capture_output=True, text=True, timeout=30)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            inside = ["ip", "netns", "exec", NETWORK, *command]
            self._running.append(subprocess.Popen(inside, cwd=self._folder, stdout=log, stderr=log))
        return self._running[-1]

    def sentinel(self) -> subprocess.Popen[bytes]:
        conf = self._folder / "sentinel.conf"
        lines = [f"port {SENTINEL_PORT}", f"sentinel monitor chats 127.0.0.1 {PORT} 2", sentinel_users([INTERNAL])]
        conf.write_text("\n".join(lines))
        return self.start("redis-server", str(conf), "--sentinel")

    def probe(self, process: subprocess.Popen[bytes]) -> subprocess.CompletedProcess[str]:
        folders = [f"{name.upper()}={self._folder / name}" for name in ("state", "access", "files")]
        return self.run("env", *folders, "HOSTNAME=it", f"PID={process.pid}", "LOOKUP=true", str(SCRIPT))

    def after(self, seconds: float, process: subprocess.Popen[bytes]) -> subprocess.CompletedProcess[str]:
        """What the probe says of that time."""
        assert "does not answer" not in self.probe(process).stderr
        time.sleep(seconds)
        return self.probe(process)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(10)

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def close(self) -> None:
        for process in self._running:
            self.end(process)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    ip("netns", "add", NETWORK)
    try:
        ip("link", "set", "lo", "up", inside=NETWORK)
        running = Stage(tmp_path)
        try:
            yield running
        finally:
            running.close()
    finally:
        ip("netns", "del", NETWORK)


def sure(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


def answering(stage: Stage, process: subprocess.Popen[bytes]) -> Callable[[], bool]:
    return lambda: "does not answer" not in stage.probe(process).stderr


def linked(stage: Stage) -> bool:
    """Sentinel has a connection that Redis knows of."""
    return "sentinel-" in stage.run("redis-cli", "client", "list").stdout


def test_a_sentinel_that_spins_is_told_and_another_does_not(stage: Stage) -> None:
    sure(stage.run("nft", "-f", "-", said=REFUSING))
    stuck = stage.sentinel()
    wait(answering(stage, stuck), 30, stage.log)
    stage.start("redis-server", "--port", str(PORT), "--save", "")
    sure(stage.run("nft", "delete", "table", "inet", "it"))
    wait(lambda: linked(stage), 30, stage.log)
    found = stage.after(3, stuck)
    assert found.returncode == 1
    assert "of a CPU for" in found.stderr

    stage.end(stuck)
    assert "does not answer" in stage.probe(stuck).stderr
    again = stage.sentinel()
    wait(answering(stage, again), 30, stage.log)
    wait(lambda: linked(stage), 30, stage.log)
    sure(stage.after(3, again))
