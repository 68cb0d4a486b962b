"""Redis, the engine stand-in and web UI replicas as real processes on loopback, for tests and benchmarks.

Each is a context manager that ends what it started. Ports are free ones, so several runs do not meet.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
MODEL = "Qwen/Qwen3-VL-4B-Instruct"
ASKED_WITH = ["", "", "", 0.7, 0.8, 64]
"""What the page's event 1 (a question) has after the question itself: conversation, edited turn, system prompt, temperature,
top_p, longest answer."""


def own_network(first: int) -> str:
    """`127.0.N` for programs whose ports are always the same: another N, from `first` on, in each process that runs tests side by
    side with others. No two kinds of programs have the same ten."""
    return f"127.0.{first + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None, within: float = 10
) -> tuple[int, bytes]:
    """Status and body, for any status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=within) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Process:
    """A program with a port; what it prints goes to a file that a failing test can show."""

    def __init__(self, name: str, port: int) -> None:
        self.port = port
        self._name = name
        self._directory = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.output_path = self._directory / "output"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self, within: float = 60) -> Self:
        with self.output_path.open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(self._directory), **self.environment()},
                cwd=self._directory,
            )
        deadline = time.monotonic() + within
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self._name} did not start:\n{self.output()}")
            time.sleep(0.05)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, within: float = 30) -> int:
        assert self._process is not None
        return self._process.wait(within)

    def kill(self) -> None:
        """As a power cut: no chance to say goodbye."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def output(self) -> str:
        return self.output_path.read_text(errors="replace") if self.output_path.exists() else ""

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


class Redis(Process):
    def __init__(self, password: str = "", port: int = 0) -> None:
        super().__init__("redis", port or free_port())
        self._password = password

    def command(self) -> list[str]:
        said = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [*said, "--requirepass", self._password] if self._password else said


class Engine(Process):
    """The stand-in. `time_scale` 1 is the speed of the card it stands for, 0 no delay at all."""

    def __init__(self, time_scale: float = 1.0, flags: tuple[str, ...] = (), port: int = 0) -> None:
        super().__init__("engine", port or free_port())
        self._flags = flags
        self._time_scale = time_scale
        self.url = f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        served = ["--model", MODEL, "--served-model-name", MODEL]
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, str(ROOT / "lab/engine/engine.py"), *served, *place, *self._flags]

    def environment(self) -> dict[str, str]:
        return {"LAB_ENGINE_TIME_SCALE": str(self._time_scale)}

    def faults(self, **faults: Any) -> None:
        """Replaces the faults in force; none given: no faults."""
        status, said = fetch(f"{self.url}/lab/faults", json.dumps(faults).encode())
        assert status == 200, said

    def metric(self, name: str) -> float:
        return metric(f"{self.url}/metrics", name)


class WebUi(Process):
    """One replica."""

    def __init__(
        self, engine: Engine, redis_port: int, flags: tuple[str, ...] = (), env: dict[str, str] | None = None
    ) -> None:
        super().__init__("webui", free_port())
        self._engine = engine
        self._redis_port = redis_port
        self._flags = flags
        self._env = env or {}
        self.uploads = self._directory / "uploads"
        self.url = f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        manual = ["--model", MODEL, "--device", "cuda", "--bf16"]
        here = ["--host", "127.0.0.1", "--port", str(self.port), "--drain-delay", "0.5"]
        return [sys.executable, str(ROOT / "images/webui/webui.py"), *manual, *here, *self._flags]

    def environment(self) -> dict[str, str]:
        redis = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self._redis_port)}
        return {
            **redis,
            "GRADIO_TEMP_DIR": str(self.uploads),
            "ENGINE_URL": self._engine.url,
            "MODEL_PATH": "/models/Qwen3-VL-4B-Instruct",
            **self._env,
        }

    def ready(self) -> bool:
        return fetch(f"{self.url}/ready")[0] == 200

    def wait_ready(self, wanted: bool = True, within: float = 30) -> float:
        """Seconds until `/ready` says so."""
        started = time.monotonic()
        while self.ready() is not wanted:
            if time.monotonic() - started > within:
                raise AssertionError(f"/ready is not {wanted} within {within} s:\n{self.output()}")
            time.sleep(0.05)
        return time.monotonic() - started

    def metric(self, name: str) -> float:
        return metric(f"{self.url}/metrics", name)


def metric(url: str, name: str) -> float:
    """The sum over all labels of one metric, or of the one written with its labels as Prometheus prints them."""
    lines = fetch(url)[1].decode().splitlines()
    found = [line for line in lines if line.startswith(name) and line[len(name)] in " {"]
    assert found, f"{url} has no {name}"
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """An image file of one colour."""
    import io

    from PIL import Image

    written = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(written, "PNG")
    return written.getvalue()


ORANGE = png(640, 480, (250, 140, 20))
BLUE = png(320, 200, (30, 60, 220))
