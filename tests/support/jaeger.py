"""A Jaeger as the product configures it, as a process on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from components.observability.jaeger import ANSWERS, HEALTH_PORT, TAKES, jaeger_yaml
from components.settings.traces import Traces
from components.tracing import JAEGER_METRICS_PORT, Tracing
from tests.support.chat_processes import ROOT, Process, fetch, free_port


def program() -> Path:
    """Builds it the first time on a machine."""
    built = subprocess.run([ROOT / "tools/build", "jaeger"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return Path(built.strip().split("\t")[1]) / "jaeger"


class Jaeger(Process):
    def __init__(self, traces: Traces | None = None) -> None:
        self._program = program()
        self._ports = {
            port: free_port() for port in (*TAKES.values(), *ANSWERS.values(), HEALTH_PORT, JAEGER_METRICS_PORT, 16685)
        }
        super().__init__("jaeger", self._ports[ANSWERS["query"]])
        self.url = f"http://127.0.0.1:{self.port}"
        self.metrics_url = f"http://127.0.0.1:{self._ports[JAEGER_METRICS_PORT]}/metrics"
        said = jaeger_yaml(traces or Traces(), host="127.0.0.1", data=str(self._directory))
        for port, here in self._ports.items():
            said = said.replace(f":{port}\n", f":{here}\n").replace(f" {port}\n", f" {here}\n")
        self._file = self._directory / "config.yaml"
        self._file.write_text(said)

    @property
    def tracing(self) -> Tracing:
        """What tells its spans here, all of them."""
        return Tracing(url=f"http://127.0.0.1:{self._ports[TAKES['otlp-http']]}", sample_percent=100, engine_spans=True)

    def command(self) -> list[str]:
        return [str(self._program), f"--config={self._file}"]

    def environment(self) -> dict[str, str]:
        return {"HOME": os.environ.get("HOME", "/")}

    def answers(self) -> bool:
        return super().answers() and fetch(f"http://127.0.0.1:{self._ports[HEALTH_PORT]}/status")[0] == 200

    def trace(self, trace_id: str, services: set[str], within: float = 20) -> dict[str, Any]:
        """The trace, as soon as spans of all those services are in it."""
        deadline = time.monotonic() + within
        found: dict[str, Any] = {}
        while time.monotonic() < deadline:
            status, body = fetch(f"{self.url}/api/traces/{trace_id}")
            if status == 200:
                found = json.loads(body)["data"][0]
                if services <= {each["serviceName"] for each in found["processes"].values()}:
                    return found
            time.sleep(0.2)
        raise AssertionError(f"no whole trace within {within} s: {json.dumps(found)[:3000]}")
