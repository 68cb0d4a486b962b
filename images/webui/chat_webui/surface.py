"""The paths that are served. Gradio brings some fifty more (a code editor, a proxy, an API of its own, recordings):
none is used by the page, so none is reachable."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from chat_webui.limits import answer
from chat_webui.settings import LoginKind

OWN = r"/healthz|/ready|/metrics"
FILES = r"/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(assets|static)/[\w./@-]+"
EVENTS = r"/config|/gradio_api/(queue/data|heartbeat/\w+|upload_progress|app_id|startup-events)"
WRITES = r"/gradio_api/(queue/join|run/predict|upload|cancel|reset)"
EVENT_CALLS = ("/gradio_api/queue/join", "/gradio_api/run/predict")
ACCOUNT = r"/account|/account\.js"
LOGIN = r"/login"
LOGIN_WRITES = r"/login|/logout"


class SurfaceMiddleware:
    """404 for everything the page and its clients do not need."""

    def __init__(self, app: ASGIApp, uploads: Path, login: LoginKind = LoginKind.NONE) -> None:
        self._app = app
        # Uploads and thumbnails lie in folders and files named by a digest, so no path of the form below leaves them.
        file = rf"/gradio_api/file={re.escape(str(uploads))}(/[\w-][\w .()-]*)+"
        reads, writes = ["/", OWN, FILES, EVENTS, file], [WRITES]
        if login is not LoginKind.NONE:
            reads.append(ACCOUNT)
        if login is LoginKind.PASSWORD:
            reads.append(LOGIN)
            writes.append(LOGIN_WRITES)
        self._reads = re.compile("|".join(reads))
        self._writes = re.compile("|".join(writes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._serves(scope["method"], scope["path"]):
            await answer(send, 404, "not found", code="not_found")
            return
        await self._app(scope, receive, send)

    def _serves(self, method: str, path: str) -> bool:
        if path == "/v1" or path.startswith("/v1/"):
            return True  # the pass-through checks these itself
        if method in ("GET", "HEAD"):
            return self._reads.fullmatch(path) is not None
        return method == "POST" and self._writes.fullmatch(path) is not None


def refuse_unknown_events(app: FastAPI) -> None:
    """400 for an event with a number that no event of the page has: Gradio looks it up unchecked, which was a 500 with a
    traceback in the log for whoever asked."""

    async def unknown(request: Request, error: Exception) -> Response:
        if request.url.path not in EVENT_CALLS:
            raise error
        return JSONResponse({"detail": "no such event"}, 400)

    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, gr.routes.App):
            route.app.add_exception_handler(KeyError, unknown)
