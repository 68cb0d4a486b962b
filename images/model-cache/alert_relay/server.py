"""POST /NAME takes Alertmanager's notification; 502 says that it did not arrive, so Alertmanager sends it again."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from alert_relay.robots import NotTaken, Robot

LARGEST_BODY = 4 * 1024 * 1024
SLOWEST_CLIENT_SECONDS = 10


class Relay(ThreadingHTTPServer):
    """Alertmanager is in the same pod, so notifications are taken from this machine only; the rest is for everybody."""

    daemon_threads = True

    def __init__(self, port: int, robots: Mapping[str, Robot]) -> None:
        super().__init__(("", port), Handler)
        self.robots = robots
        self.registry = CollectorRegistry()
        self.sent = Counter(
            "alert_relay_sent", "Notifications that a robot took.", ["receiver"], registry=self.registry
        )
        self.failures = Counter(
            "alert_relay_failures", "Notifications that did not arrive.", ["receiver"], registry=self.registry
        )
        for name in robots:  # a series that begins with its first failure has no increase
            self.sent.labels(name)
            self.failures.labels(name)

    def hand_on(self, name: str, notification: Mapping[str, Any]) -> str:
        """Empty, or why it did not arrive."""
        try:
            self.robots[name].send(notification)
        except NotTaken as error:
            self.failures.labels(name).inc()
            print(json.dumps({"level": "warning", "receiver": name, "message": f"not taken: {error}"}), flush=True)
            return str(error)
        self.sent.labels(name).inc()
        print(json.dumps({"level": "info", "receiver": name, "alerts": len(notification["alerts"])}), flush=True)
        return ""


class Handler(BaseHTTPRequestHandler):
    server: Relay
    timeout = SLOWEST_CLIENT_SECONDS

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, generate_latest(self.server.registry), CONTENT_TYPE_LATEST)
        elif self.path == "/healthz":
            self._answer(200, b"ok\n")
        else:
            self._answer(404, b"no such page\n")

    def do_POST(self) -> None:
        name = self.path.removeprefix("/")
        if not ipaddress.ip_address(self.client_address[0]).is_loopback:
            return self._answer(403, b"notifications are taken from this pod only\n")
        if name not in self.server.robots:
            return self._answer(404, b"no such receiver\n")
        notification = self._notification()
        if notification is None:
            return self._answer(400, b"not a notification of Alertmanager\n")
        why = self.server.hand_on(name, notification)
        return self._answer(502 if why else 200, f"{why or 'sent'}\n".encode())

    def _notification(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return None
        try:
            found = json.loads(self.rfile.read(int(length)))
            sound = found["alerts"] and all(
                isinstance(each["labels"], dict) and isinstance(each["status"], str) for each in found["alerts"]
            )
        except (ValueError, TypeError, KeyError):
            return None
        return found if sound else None

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """What matters is said in `hand_on`."""
