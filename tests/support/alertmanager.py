"""Real Alertmanagers, the relay and a stand-in for whom they tell, as processes on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from components.observability.alertmanager_config import FILES, RELAY_PORT, alertmanager_yaml
from components.settings.alerting import Alerting
from tests.support.chat_processes import Process, fetch, free_port
from tests.support.golden import GOLDEN

ROOT = GOLDEN.parent.parent


@cache
def programs() -> Path:
    found = subprocess.run([ROOT / "tools/build", "alertmanager"], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip().partition("\t")[2])


def quick(text: str, folder: Path, relay_port: int) -> str:
    """The product's configuration, with files that are here and with waits that a test can wait for."""
    waits = {"group_wait: 30s": "group_wait: 1s", "group_interval: 300s": "group_interval: 2s"}
    places = {FILES: str(folder), f"127.0.0.1:{RELAY_PORT}": f"127.0.0.1:{relay_port}"}
    for old, new in {**waits, **places}.items():
        assert old in text or old.startswith("127"), old
        text = text.replace(old, new)
    return text


class Alertmanager(Process):
    def __init__(
        self, alerting: Alerting, files: Mapping[str, str], relay_port: int, cluster: int, peers: list[int]
    ) -> None:
        super().__init__("alertmanager", free_port())
        self._cluster, self._peers = cluster, peers
        for name, content in files.items():
            (self._directory / name).write_text(content)
        config = quick(alertmanager_yaml(alerting), self._directory, relay_port)
        (self._directory / "alertmanager.yml").write_text(config)

    def command(self) -> list[str]:
        return [
            str(programs() / "alertmanager"),
            f"--config.file={self._directory}/alertmanager.yml",
            f"--storage.path={self._directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=receiver-name-in-metrics",
            f"--cluster.listen-address=127.0.0.1:{self._cluster}",
            f"--cluster.advertise-address=127.0.0.1:{self._cluster}",
            *(f"--cluster.peer=127.0.0.1:{peer}" for peer in self._peers),
            "--cluster.peer-timeout=4s",
            "--cluster.settle-timeout=5s",
            "--log.level=debug",
        ]

    def answers(self) -> bool:
        return super().answers() and fetch(f"http://127.0.0.1:{self.port}/-/ready")[0] == 200

    def tell(self, *alerts: dict[str, Any]) -> None:
        body = json.dumps(list(alerts)).encode()
        status, said = fetch(f"http://127.0.0.1:{self.port}/api/v2/alerts", body, {"Content-Type": "application/json"})
        assert status == 200, said

    def settled(self) -> bool:
        body = fetch(f"http://127.0.0.1:{self.port}/api/v2/status")[1]
        return bool(json.loads(body)["cluster"]["status"] == "ready")

    def members(self) -> int:
        status, body = fetch(f"http://127.0.0.1:{self.port}/api/v2/status")
        assert status == 200
        return len(json.loads(body)["cluster"]["peers"])

    def metrics(self) -> str:
        return fetch(f"http://127.0.0.1:{self.port}/metrics")[1].decode()


class Relay(Process):
    def __init__(self, kinds: Mapping[str, str], files: Mapping[str, str]) -> None:
        super().__init__("alert-relay", free_port())
        self._kinds = kinds
        for name, content in files.items():
            (self._directory / name).write_text(content)

    def command(self) -> list[str]:
        told = [f"--receiver={name}={kind}" for name, kind in self._kinds.items()]
        return [sys.executable, "-m", "alert_relay", f"--port={self.port}", f"--secrets={self._directory}", *told]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT / "images/model-cache")}

    def metric(self, name: str, receiver: str) -> float:
        text = fetch(f"http://127.0.0.1:{self.port}/metrics")[1].decode()
        line = next(line for line in text.splitlines() if line.startswith(f'{name}{{receiver="{receiver}"}}'))
        return float(line.split()[1])


@dataclass(frozen=True, slots=True)
class Told:
    path: str
    query: Mapping[str, list[str]]
    body: dict[str, Any]


@dataclass
class Listener:
    """Whom Alertmanager and the relay tell; `answers` are statuses and bodies by path, else 200 and what each robot says."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)

    def __enter__(self) -> Self:
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mine.told.append(Told(parts.path, parse_qs(parts.query), body))
                status, answer = mine.answers.get(parts.path, (200, {"errcode": 0, "code": 0}))
                # Slack says so in plain text.
                said = b"ok" if parts.path.startswith("/slack/") else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def at(self, path: str, name: str = "") -> list[Told]:
        return [each for each in list(self.told) if each.path == path and name in json.dumps(each.body)]
