"""The cookie: who gets one, what it looks like, and what is not taken for one."""

from __future__ import annotations

import asyncio
import re

import pytest
from chat_webui.identity import COOKIE, IdentityMiddleware
from chat_webui.user_ids import new_user_id
from starlette.types import Message, Receive, Scope, Send


def call(path: str, headers: dict[str, str] | None = None) -> tuple[str | None, str]:
    """The id the application saw, and the Set-Cookie header that came back."""
    seen: dict[str, str | None] = {}
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen["user"] = scope.get("user_id")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope: Scope = {"type": "http", "path": path, "method": "GET", "scheme": "http", "headers": raw}
    asyncio.run(IdentityMiddleware(app)(scope, receive, send))
    cookies = [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]
    return seen["user"], "".join(cookies)


def test_a_new_browser_gets_an_unguessable_id_that_scripts_cannot_read() -> None:
    user, cookie = call("/")
    assert user is not None
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", user)
    assert cookie.startswith(f"{COOKIE}={user};")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    assert call("/")[0] != user


def test_behind_https_the_cookie_is_secure() -> None:
    assert "Secure" in call("/", {"x-forwarded-proto": "https"})[1]


def test_a_known_browser_keeps_its_id() -> None:
    known = new_user_id()
    header = {"cookie": f"other=1; {COOKIE}={known}; lb=abc"}
    assert call("/gradio_api/queue/join", header) == (known, "")
    user, cookie = call("/", header)  # the page renews the cookie's age
    assert user == known
    assert f"{COOKIE}={known};" in cookie


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"{COOKIE}=short",
        f"{COOKIE}={'a' * 33}",
        f"{COOKIE}={'a' * 31}*",
        f"{COOKIE}=../../../../../../../../../../etc",
        f"{COOKIE}={'a' * 31}\n",
        "=;;=",
    ],
)
def test_what_this_program_did_not_give_out_is_not_an_id(header: str) -> None:
    user, cookie = call("/", {"cookie": header})
    assert cookie.startswith(f"{COOKIE}={user};")


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/ready", "/metrics"])
def test_machines_get_no_cookie(path: str) -> None:
    assert call(path) == (None, "")
