"""What any request may cost before a handler sees it: bytes of a body, bytes of uploads lying in /tmp; and the headers
that keep the browser from talking to other hosts."""

from __future__ import annotations

import json
import os
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # Gradio's page starts by inline scripts
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",  # no picture from elsewhere: an answer could carry the chat out in its address
        "font-src 'self' data:",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class BodyTooLarge(Exception):
    """The body grew past the limit while it was read."""


class LimitsMiddleware:
    """413 for a body above `max_body` bytes, declared or not; 507 for an upload while `upload_quota` bytes lie there."""

    def __init__(self, app: ASGIApp, max_body: int, upload_directory: Path, upload_quota: int) -> None:
        self._app = app
        self._max_body = max_body
        self._upload_directory = upload_directory
        self._upload_quota = upload_quota

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._max_body:
            await answer(send, 413, f"the body is larger than {self._max_body} bytes")
            return
        if scope["path"].endswith("/upload") and bytes_below(self._upload_directory) > self._upload_quota:
            await answer(send, 507, "too many uploads are waiting; try again in a minute")
            return
        read = 0
        started = refused = False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body:
                raise BodyTooLarge
            return message

        async def checked(message: Message) -> None:
            nonlocal started, refused
            if read > self._max_body and not started:  # whatever a handler makes of BodyTooLarge, the client gets this
                refused = started = True
                await answer(send, 413, f"the body is larger than {self._max_body} bytes")
            if refused:
                return
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, counted, checked)
        except BodyTooLarge:
            if not started:
                await answer(send, 413, f"the body is larger than {self._max_body} bytes")


def bytes_below(directory: Path) -> int:
    """Bytes of all files below a directory, 0 if there is none. Files may vanish meanwhile."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


async def answer(
    send: Send, status: int, message: str, headers: dict[str, str] | None = None, code: str | None = None
) -> None:
    """A complete JSON answer in the shape of the OpenAI API's errors, whose types these are."""
    kind = "server_error" if status >= 500 else "requests" if status == 429 else "invalid_request_error"
    body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()
    named = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
