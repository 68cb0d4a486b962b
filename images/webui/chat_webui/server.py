"""Puts the parts together and runs them until SIGTERM, then lets what is in flight finish."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import aiohttp
import gradio as gr
import uvicorn
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from chat_webui.access import AccessMiddleware
from chat_webui.api_proxy import ApiProxy
from chat_webui.conversations import Conversations
from chat_webui.engine_client import EngineClient
from chat_webui.history import Bounds
from chat_webui.history_store import HistoryStore, connect
from chat_webui.identity import IdentityMiddleware
from chat_webui.images import ImageShelf
from chat_webui.limits import LimitsMiddleware
from chat_webui.metrics import Metrics
from chat_webui.page import ChatPage
from chat_webui.page_layout import page_text
from chat_webui.page_shell import install_page_shell
from chat_webui.readiness import ENGINE_WITHIN, Readiness
from chat_webui.settings import Settings
from chat_webui.surface import SurfaceMiddleware

log = logging.getLogger(__name__)

CLOSE_WITHIN = 3
"""Seconds uvicorn waits for connections that never end by themselves (Gradio's heartbeats) once nothing is in flight."""
SAVE_WITHIN = 3.0
"""Seconds for Redis to take the answers that the end of the drain cut off."""
BACKLOG = 2048
KEEP_ALIVE = 75
"""Seconds an idle connection stays open: longer than Traefik keeps one idle, so that it never sends into a closed one."""
SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]
MONO_FONTS = ["ui-monospace", "Consolas", "monospace"]


class Service:
    """The web UI with its connections; `app` is the ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.readiness = Readiness(settings.redis_gate, self.metrics)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)  # limits are ours: max_chats, max_api_requests
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, read_bufsize=256 * 1024)
        self.store = HistoryStore(connect(settings), settings.history_ttl, Bounds(), self.metrics.history_errors.inc)
        self.engine = EngineClient(settings, self._session)
        self.conversations = Conversations(self.store, self.engine, ImageShelf(), self.metrics, settings)
        self.proxy = ApiProxy(settings.engine_url, self._session, self.metrics, settings.max_api_requests)
        self.metrics.in_flight.labels("chat").set_function(lambda: self.conversations.in_flight)
        self.app = self._application()

    @property
    def in_flight(self) -> int:
        return self.conversations.in_flight + self.proxy.in_flight

    def _application(self) -> ASGIApp:
        async def healthz(_: Request) -> Response:
            return PlainTextResponse("ok\n")

        async def ready(_: Request) -> Response:
            return JSONResponse(self.readiness.state(), 200 if self.readiness.ready else 503)

        async def metrics(request: Request) -> Response:
            if "x-forwarded-for" in request.headers:  # came through the gateway: not for the public
                return PlainTextResponse("not found\n", 404)
            return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

        app = FastAPI(
            lifespan=self._lifespan,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            routes=[
                Route("/healthz", healthz),
                Route("/ready", ready),
                Route("/metrics", metrics),
                Mount("/v1", self.proxy),
            ],
        )
        install_page_shell(self.settings)
        gr.mount_gradio_app(
            app,
            ChatPage(self.conversations, self.settings, self.readiness).blocks(),
            path="/",
            server_port=self.settings.port,
            theme=gr.themes.Soft(font=SYSTEM_FONTS, font_mono=MONO_FONTS),
            css_paths=[Path(__file__).with_name("page.css")],
            footer_links=[],
            run_history=False,
            show_error=False,
            max_file_size=self.settings.max_upload,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            i18n=page_text,
            pwa=False,
        )
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        limited = LimitsMiddleware(
            SurfaceMiddleware(app, uploads), self.settings.max_body, uploads, self.settings.upload_quota
        )
        return AccessMiddleware(IdentityMiddleware(limited), self.metrics)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(
            self.readiness.watch(lambda: self.engine.answers(ENGINE_WITHIN), self.store.answers)
        )
        yield
        watch.cancel()
        await self._session.close()
        await self.store.close()

    async def drain(self) -> None:
        """Not ready, but serving: first until the balancer noticed, then until nothing is in flight or time is up. What is
        then still being written is saved as far as it came."""
        self.readiness.draining = True
        self.metrics.ready.set(0)
        log.info("draining", extra={"in_flight": self.in_flight})
        await asyncio.sleep(self.settings.drain_delay)
        deadline = time.monotonic() + self.settings.drain_timeout
        while self.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        await self.conversations.stop_all(SAVE_WITHIN)
        log.info("drained", extra={"left": self.in_flight})


class _Server(uvicorn.Server):
    """uvicorn, with a drain between the first signal and the end. A second signal ends at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._drain: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain is not None or sig == signal.SIGINT:
            super().handle_exit(sig, frame)
            return
        self._loop.call_soon_threadsafe(self._start_drain)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def _start_drain(self) -> None:
        async def drain_and_end() -> None:
            await self._service.drain()
            self.should_exit = True

        self._drain = asyncio.create_task(drain_and_end())


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT."""
    service = Service(settings)
    config = uvicorn.Config(
        service.app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        loop="uvloop",
        http="httptools",
        ws="none",
        backlog=BACKLOG,
        limit_concurrency=None,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=CLOSE_WITHIN,
        server_header=False,
        proxy_headers=False,
    )
    shown = {"model": settings.model, "model_path": settings.model_path, "engine": settings.engine_url}
    engine_flags = {"device": settings.device, "dtype": settings.dtype, "flash_attn": settings.use_flash_attn}
    log.info("starting", extra={**shown, "port": settings.port, "engine_flags": json.dumps(engine_flags)})
    await _Server(config, service).serve()
