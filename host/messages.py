"""What the user sees while we work: messages under the resource they belong to, by the engine's own log."""

from __future__ import annotations

import threading
import time

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from host.secrets import Secrets

_STATUS_SECONDS = 1.0  # a status line replaces the one before; more often only costs


class Engine:
    """The engine's log. Without an address (tests) messages are only collected."""

    def __init__(self, address: str | None, secrets: Secrets) -> None:
        self.secrets = secrets
        self.sent: list[tuple[str, str, str]] = []  # kept only without an engine
        self._stub = None
        if address:
            self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def log(self, severity: engine_pb2.LogSeverity.ValueType, message: str, urn: str, ephemeral: bool = False) -> None:
        """Send one message. An engine that is gone is no reason to fail."""
        message = self.secrets.redact(message)
        if self._stub is None:
            self.sent.append(("STATUS" if ephemeral else engine_pb2.LogSeverity.Name(severity), urn, message))
            return
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=urn, ephemeral=ephemeral)
        try:
            self._stub.Log(request, timeout=5)
        except grpc.RpcError:
            return


class Reporter:
    """Messages of one resource. May be used from any thread."""

    def __init__(self, engine: Engine, urn: str) -> None:
        self._engine, self._urn = engine, urn
        self._last = 0.0
        self._lock = threading.Lock()

    def info(self, message: str) -> None:
        self._engine.log(engine_pb2.INFO, message, self._urn)

    def warning(self, message: str) -> None:
        self._engine.log(engine_pb2.WARNING, message, self._urn)

    def status(self, message: str) -> None:
        """A passing line beside the resource: what is being done now."""
        lines = message.strip().splitlines()
        with self._lock:
            if not lines or time.monotonic() - self._last < _STATUS_SECONDS:
                return
            self._last = time.monotonic()
        self._engine.log(engine_pb2.INFO, lines[-1][:200], self._urn, ephemeral=True)
