"""`/v1/*` as it is, from the client to the engine and back: bodies are streamed, looked through for images and never parsed.

So a 300 KB image costs little more than a word, and every parameter of the engine's API works without this program
knowing it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable

import aiohttp
from opentelemetry.trace import Span
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send
from yarl import URL

from chat_webui import traces
from chat_webui.api_keys import ApiKeys, KeyRefused
from chat_webui.body_scan import BodyRefused, BodyScan
from chat_webui.limits import BodyTooLarge, answer
from chat_webui.metrics import Metrics

log = logging.getLogger(__name__)

HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
NOT_FOR_THE_ENGINE = frozenset(("host", "cookie", "authorization", "content-length", "x-qwen3-vl-gateway"))
"""`cookie` holds the key to the chat history, `authorization` the API key; `content-length` is set again by the client
library."""
PATH = re.compile(rb"/v1(/[A-Za-z0-9_-][A-Za-z0-9._:-]*)+")
"""No empty, dot or escaped segment: nothing in a path can leave /v1 (the engine's other endpoints are not public)."""
MANAGEMENT = (b"lora_adapter",)
"""vLLM's calls that change what is served; off by default there, never passed on here."""
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=600.0)

Raw = list[tuple[bytes, bytes]]


def passed_on(
    headers: Iterable[tuple[bytes, bytes]], also_dropped: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    """End-to-end headers: without those of one hop, and without those the Connection header names."""
    decoded = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]
    named = {part.strip().lower() for name, value in decoded if name == "connection" for part in value.split(",")}
    return [(name, value) for name, value in decoded if name not in HOP_BY_HOP | named | also_dropped]


class ApiProxy:
    """An ASGI application. Without a key that is known (if there are `keys`), or beyond the key's limits or `limit` requests
    in flight it answers 401 or 429, before it reads a body."""

    def __init__(
        self,
        engine_url: str,
        session: aiohttp.ClientSession,
        metrics: Metrics,
        *,
        limit: int,
        max_images: int,
        keys: ApiKeys | None,
    ) -> None:
        self._engine_url = engine_url
        self._session = session
        self._metrics = metrics
        self._limit = limit
        self._max_images = max_images
        self._keys = keys
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if not PATH.fullmatch(raw_path) or any(word in raw_path for word in MANAGEMENT):
            await answer(send, 404, "no such path below /v1", code="not_found")
            return
        if self._keys is None:
            await self._admitted(scope, raw_path, receive, send)
            return
        try:
            key = await self._keys.admit(Headers(scope=scope))
        except KeyRefused as refused:
            self._metrics.api_requests.labels(refused.name, str(refused.status)).inc()
            scope["about"]["key"] = refused.name
            await answer(send, refused.status, str(refused), refused.headers, refused.code)
            return
        scope["about"]["key"] = key.name
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        in_flight = self._metrics.api_in_flight.labels(key.name)
        in_flight.inc()
        try:
            await self._admitted(scope, raw_path, receive, counted)
        finally:
            in_flight.dec()
            self._keys.leave(key)
            self._metrics.api_requests.labels(key.name, str(status)).inc()

    async def _admitted(self, scope: Scope, raw_path: bytes, receive: Receive, send: Send) -> None:
        if Headers(scope=scope).get("content-encoding", "identity") != "identity":
            await answer(send, 415, "bodies are sent as they are, without compression", code="unsupported_encoding")
            return
        if self.in_flight >= self._limit:
            self._metrics.proxy_refused.inc()
            busy = "too many requests in flight at this replica"
            await answer(send, 429, busy, {"retry-after": "1"}, "rate_limit_exceeded")
            return
        query = scope.get("query_string", b"")
        url = URL(f"{self._engine_url}{raw_path.decode()}{'?' + query.decode() if query else ''}", encoded=True)
        self.in_flight += 1
        self._metrics.in_flight.labels("api").inc()
        asked = traces.asking()
        try:
            await self._pass(scope, url, receive, send, asked)
        finally:
            asked.end()
            self.in_flight -= 1
            self._metrics.in_flight.labels("api").dec()

    async def _pass(self, scope: Scope, url: URL, receive: Receive, send: Send, asked: Span) -> None:
        started = begun = False
        exchange = _Exchange(receive, BodyScan(self._max_images))
        try:
            lengths = [value for name, value in scope["headers"] if name == b"content-length"]
            has_body = bool(lengths) or any(name == b"transfer-encoding" for name, _ in scope["headers"])
            here = traces.carried(asked)
            headers = passed_on(scope["headers"], NOT_FOR_THE_ENGINE | here.keys())
            headers += here.items()
            if lengths:
                headers.append(("content-length", lengths[0].decode()))
            async with self._session.request(
                scope["method"],
                url,
                headers=headers,
                data=exchange.body() if has_body else None,
                timeout=TIMEOUT,
                allow_redirects=False,
                skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            ) as response:
                raw = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in passed_on(response.raw_headers)]
                watch = asyncio.create_task(exchange.client_left(response))
                try:
                    await send({"type": "http.response.start", "status": response.status, "headers": raw})
                    started = True
                    asked.set_attribute("http.response.status_code", response.status)
                    async for chunk in response.content.iter_any():
                        if not begun:
                            asked.add_event("first bytes")
                            begun = True
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    await send({"type": "http.response.body", "body": b""})
                finally:
                    watch.cancel()
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
            if isinstance(error.__cause__, BodyTooLarge):
                raise error.__cause__ from None
            if exchange.refused and not started:
                await answer(send, 400, exchange.refused, code="image_limit")
                return
            if exchange.left:
                return
            traces.failed(asked, type(error).__name__)
            log.warning("engine failed a request", extra={"why": type(error).__name__, "started": started})
            if started:
                raise  # the server closes the connection: a cut answer must not look complete
            slow = isinstance(error, asyncio.TimeoutError)
            await answer(send, 504 if slow else 502, "the engine did not answer", {"retry-after": "2"})


class _Exchange:
    """One request: its body as an iterator, then the watch for a client that goes away. `refused` says what of the body
    broke a limit; the engine then got a part of it only, which it never begins to work on."""

    def __init__(self, receive: Receive, scan: BodyScan) -> None:
        self._receive = receive
        self._scan = scan
        self.left = False
        self.refused = ""

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.left = True
                raise ConnectionResetError("the client went away")
            chunk, more = message.get("body", b""), message.get("more_body", False)
            try:
                self._scan.feed(chunk, last=not more)
            except BodyRefused as refused:
                self.refused = str(refused)
                raise ConnectionResetError("the body breaks a limit") from refused
            if chunk:
                yield chunk
            if not more:
                return

    async def client_left(self, response: aiohttp.ClientResponse) -> None:
        """Closes the engine's side when the client's is gone, so that the engine stops working on it."""
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self.left = True
        response.close()
