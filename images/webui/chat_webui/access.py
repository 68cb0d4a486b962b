"""One count, one duration and one log line per request, with a bounded set of route names and nothing of its content."""

from __future__ import annotations

import logging
import time

from opentelemetry.trace import Span
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_webui import traces
from chat_webui.metrics import Metrics

log = logging.getLogger(__name__)

ROUTES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/healthz",
    "/ready",
    "/metrics",
    "/login",
    "/logout",
    "/account",
    "/account.js",
    "/",
)
PREFIXES = ("/v1/", "/gradio_api/upload", "/gradio_api/queue/", "/gradio_api/", "/assets/", "/static/")
QUIET = (
    "/healthz",
    "/ready",
    "/metrics",
    "/assets/",
    "/static/",
    "/gradio_api/",
    "/gradio_api/queue/",
    "/account",
    "/account.js",
)
ENDLESS = "/gradio_api/heartbeat/"


def route_of(path: str) -> str:
    """A name for metrics: the path itself if it is one of ours, a prefix, or `other`."""
    if path in ROUTES:
        return path
    return next((prefix for prefix in PREFIXES if path.startswith(prefix)), "other")


class AccessMiddleware:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(ENDLESS):
            await self._app(scope, receive, send)
            return
        with traces.serving(scope, route_of(scope["path"])) as served:
            await self._counted(scope, receive, send, served)

    async def _counted(self, scope: Scope, receive: Receive, send: Send, served: Span) -> None:
        started = time.monotonic()
        route = route_of(scope["path"])
        about = scope["about"] = dict[str, str]()  # what is found out about the request further in, for its log line
        status = 0
        sent = 0

        async def counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                served.set_attribute("http.response.status_code", status)
                if status >= 500:
                    traces.failed(served, str(status))
                if "trace" in scope and (known := traces.ids()):
                    MutableHeaders(scope=message)["x-trace-id"] = known["trace_id"]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            seconds = time.monotonic() - started
            self._metrics.http.labels(route, scope["method"], str(status)).inc()
            self._metrics.http_seconds.labels(route).observe(seconds, traces.example())
            if route not in QUIET or status >= 500:
                said = {"route": route, "method": scope["method"], "status": status}
                log.info("request", extra={**said, **about, "ms": round(seconds * 1000, 1), "bytes": sent})
