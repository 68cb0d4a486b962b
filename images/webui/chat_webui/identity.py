"""Who is asking: an unguessable id in a cookie, given to each browser at its first request.

It is the only key to a conversation until a login exists, so it is a secret: HttpOnly, SameSite=Lax, Secure behind HTTPS,
never logged and never passed to the engine.
"""

from __future__ import annotations

import re
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "qwen3vl_user"
MAX_AGE = 30 * 24 * 3600
"""Seconds the browser keeps the cookie; the history behind it expires much earlier."""
USER_ID = re.compile(r"[A-Za-z0-9_-]{32}")
WITHOUT_COOKIE = ("/v1/", "/healthz", "/ready", "/metrics")


def new_user_id() -> str:
    """192 random bits, 32 characters."""
    return secrets.token_urlsafe(24)


def user_id_of(cookie_header: str) -> str | None:
    """The id in a Cookie header, if it has the form this program gives out."""
    try:
        found = SimpleCookie(cookie_header).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and USER_ID.fullmatch(found.value) else None


class IdentityMiddleware:
    """Puts the id into `scope["user_id"]` and, for a browser that has none, sets the cookie on the way back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(WITHOUT_COOKIE):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        known = user_id_of(headers.get("cookie", ""))
        scope["user_id"] = known or new_user_id()
        secure = scope["scheme"] == "https" or headers.get("x-forwarded-proto") == "https"

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and (known is None or scope["path"] == "/"):
                attributes = f"Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
                MutableHeaders(scope=message).append("set-cookie", f"{COOKIE}={scope['user_id']}; {attributes}")
            await send(message)

        await self._app(scope, receive, with_cookie)
