"""Loki and the collector of a node, as the product configures them, as processes on loopback."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from components.observability.log_collector_config import PODS, collector_yaml
from components.observability.loki_config import loki_yaml
from components.settings.logs import Logs
from lab.mirror.cache import CACHE
from tests.support.chat_processes import ROOT, Process, fetch, free_port

NODE, UID = "gpu-1", "4c2a9a44-0f0d-4b5e-9a3e-6f1c2d3e4f50"


@cache
def program(name: str) -> Path:
    """Where it lies once `tools/build --group lab` has been here."""
    said = subprocess.run([ROOT / "tools/build", "--hash", name], check=True, stdout=subprocess.PIPE, text=True).stdout
    return CACHE / "builds" / said.strip().replace("\t", "-") / name


def are_built() -> bool:
    return all(program(name).exists() for name in ("loki", "otel-collector"))


@dataclass(frozen=True, slots=True)
class Line:
    labels: dict[str, str]  # of its stream
    beside: dict[str, str]  # kept with the line itself
    text: str


class Loki(Process):
    def __init__(self, logs: Logs) -> None:
        self._program = program("loki")
        super().__init__("loki", free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.metrics_url = f"{self.url}/metrics"
        self._file = self._directory / "loki.yaml"
        self._file.write_text(
            loki_yaml(
                logs,
                replicas=1,
                peers="",
                data=str(self._directory / "data"),
                host="127.0.0.1",
                port=self.port,
                grpc_port=free_port(),
            )
        )

    def command(self) -> list[str]:
        return [str(self._program), f"-config.file={self._file}", "-config.expand-env=true", "-target=all"]

    def answers(self) -> bool:
        return super().answers() and fetch(f"{self.url}/ready")[0] == 200

    def lines(self, selector: str) -> list[Line]:
        asked = urlencode({"query": selector, "since": "1h", "limit": 1000})
        flags = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
        status, body = fetch(f"{self.url}/loki/api/v1/query_range?{asked}", headers=flags)
        assert status == 200, body
        return [
            Line(stream["stream"], more.get("structuredMetadata", {}), text)
            for stream in json.loads(body)["data"]["result"]
            for _, text, more in stream["values"]
        ]

    def wait_for(self, selector: str, count: int = 1, within: float = 30) -> list[Line]:
        """The lines, as soon as there are so many."""
        deadline = time.monotonic() + within
        while len(found := self.lines(selector)) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} lines within {within} s"
            time.sleep(0.3)
        return found


class Collector(Process):
    """Reads below a folder that stands for the node's `/`."""

    def __init__(self, logs: Logs, url: str) -> None:
        self._program = program("otel-collector")
        super().__init__("log-collector", free_port())
        metrics_port = free_port()
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self.root = self._directory / "root"
        self.root.mkdir()
        self._file = self._directory / "collector.yaml"
        self._file.write_text(
            collector_yaml(
                logs,
                url,
                root=str(self.root),
                state=str(self._directory / "state"),
                host="127.0.0.1",
                health_port=self.port,
                metrics_port=metrics_port,
                journal=False,
            )
        )

    def command(self) -> list[str]:
        return [str(self._program), f"--config={self._file}"]

    def environment(self) -> dict[str, str]:
        return {"NODE_NAME": NODE}

    def write(self, pod: str, container: str, *lines: str, at: datetime | None = None, flag: str = "F") -> None:
        """As containerd does, in the namespace default."""
        folder = self.root / PODS.lstrip("/") / f"default_{pod}_{UID}" / container
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "0.log").open("a") as file:
            for line in lines:
                then = at or datetime.now(UTC)
                file.write(f"{then:%Y-%m-%dT%H:%M:%S.%f}000Z stdout {flag} {line}\n")
