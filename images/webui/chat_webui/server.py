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
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from chat_webui.access import AccessMiddleware
from chat_webui.api_keys import ApiKeys, parse_api_keys
from chat_webui.api_proxy import ApiProxy
from chat_webui.conversations import Conversations
from chat_webui.engine_client import EngineClient
from chat_webui.history import Bounds
from chat_webui.history_store import HistoryStore, connect
from chat_webui.identity import ByGateway, IdentityMiddleware, parse_gateway_tokens
from chat_webui.images import ImageShelf
from chat_webui.limits import LimitsMiddleware
from chat_webui.live_file import LiveFile
from chat_webui.login import PasswordLogin, account, parse_users
from chat_webui.metrics import Metrics
from chat_webui.page import ChatPage
from chat_webui.page_layout import page_text
from chat_webui.page_shell import install_page_shell
from chat_webui.readiness import ENGINE_WITHIN, Readiness
from chat_webui.settings import LoginKind, Settings
from chat_webui.shared import Shared
from chat_webui.surface import SurfaceMiddleware, refuse_unknown_events
from chat_webui.traces import follow

log = logging.getLogger(__name__)

CLOSE_WITHIN = 3
"""Seconds uvicorn waits for connections that never end by themselves (Gradio's heartbeats) once nothing is in flight."""
SAVE_WITHIN = 3.0
"""Seconds for Redis to take the answers that the end of the drain cut off."""
BACKLOG = 2048
KEEP_ALIVE = 75
"""Seconds an idle connection stays open: longer than Traefik keeps one idle, so that it never sends into a closed one."""
ACCOUNT_SCRIPT = '<script src="/account.js" defer></script>'
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
        redis = connect(settings)
        self.store = HistoryStore(redis, settings.history_ttl, Bounds(), self.metrics.history_errors.inc)
        self.engine = EngineClient(settings, self._session)
        self.conversations = Conversations(self.store, self.engine, ImageShelf(), self.metrics, settings)
        shared = Shared(redis)
        self.proxy = ApiProxy(
            settings.engine_url,
            self._session,
            self.metrics,
            limit=settings.max_api_requests,
            max_images=settings.max_images,
            keys=self._api_keys(shared),
        )
        self.login = self._password_login(shared)
        self.metrics.in_flight.labels("chat").set_function(lambda: self.conversations.in_flight)
        self.app = self._application()

    def _api_keys(self, shared: Shared) -> ApiKeys | None:
        path = self.settings.api_keys_file
        return None if path is None else ApiKeys(LiveFile("--api-keys-file", path, parse_api_keys), shared)

    def _password_login(self, shared: Shared) -> PasswordLogin | None:
        path = self.settings.users_file
        if self.settings.login is not LoginKind.PASSWORD or path is None:
            return None
        users = LiveFile("--users-file", path, parse_users)
        return PasswordLogin(users, shared, self.metrics, self.settings.session_seconds)

    def _identified(self, app: ASGIApp) -> ASGIApp:
        """The kind of login in front of the page."""
        if self.login is not None:
            return IdentityMiddleware(app, self.login.identify, "/login")
        path = self.settings.gateway_token_file
        if self.settings.login is LoginKind.FORWARD_AUTH and path is not None:
            tokens = LiveFile("--gateway-token-file", path, parse_gateway_tokens)
            return IdentityMiddleware(app, ByGateway(self.settings.user_header, tokens))
        return IdentityMiddleware(app)

    def _account_routes(self) -> list[Route]:
        """What a login adds to the paths."""
        if self.settings.login is LoginKind.NONE:
            return []
        logout = self.settings.logout_url if self.login is None else "/logout"

        async def script(_: Request) -> Response:
            return FileResponse(Path(__file__).with_name("account.js"), media_type="text/javascript")

        routes = [Route("/account", account(logout)), Route("/account.js", script)]
        if self.login is not None:
            routes += [
                Route("/login", self.login.page),
                Route("/login", self.login.enter, methods=["POST"]),
                Route("/logout", self.login.leave, methods=["POST"]),
            ]
        return routes

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
            # OpenMetrics for who asks for it, as Prometheus does: only there a value can name the trace of one request.
            encode, media_type = choose_encoder(request.headers.get("accept", ""))
            return Response(encode(self.metrics.registry), media_type=media_type)

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
                *self._account_routes(),
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
            head="" if self.settings.login is LoginKind.NONE else ACCOUNT_SCRIPT,
        )
        refuse_unknown_events(app)
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        limited = LimitsMiddleware(
            SurfaceMiddleware(app, uploads, self.settings.login),
            self.settings.max_body,
            uploads,
            self.settings.upload_quota,
        )
        return AccessMiddleware(self._identified(limited), self.metrics)

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


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """One process: it streams and never computes for long, so replicas are what scales. No limit on connections or requests
    in flight here: those of the settings say what a client is told."""
    return uvicorn.Config(
        app,
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


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT. Raises SettingsError for a file that a setting names and that cannot be used."""
    service = Service(settings)
    access = {"login": settings.login, "api": "open" if settings.api_keys_file is None else "keys"}
    shown = {**access, "model": settings.model, "model_path": settings.model_path, "engine": settings.engine_url}
    engine_flags = {"device": settings.device, "dtype": settings.dtype, "flash_attn": settings.use_flash_attn}
    log.info("starting", extra={**shown, "port": settings.port, "engine_flags": json.dumps(engine_flags)})
    following = follow(settings.otlp_traces_endpoint) if settings.otlp_traces_endpoint else None
    await _Server(server_config(service.app, settings), service).serve()
    if following:
        await asyncio.to_thread(following.end)
