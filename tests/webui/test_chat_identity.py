"""The cookie: who gets one, what it looks like, and what is not taken for one."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path

import pytest
from chat_webui.identity import COOKIE, GATEWAY_HEADER, ByGateway, IdentityMiddleware, parse_gateway_tokens
from chat_webui.live_file import LiveFile
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


OLD, NEW = "token-of-the-gateway-before", "token-of-the-gateway-from-now-on"


def believed(shown: str, *taken: str, folder: Path) -> bool:
    """Whether a request of Traefik's that shows this is believed by a web UI whose file holds these."""
    file = folder / "gateway-token.sha256"
    file.write_text("\n".join(hashlib.sha256(token.encode()).hexdigest() for token in taken))
    by_gateway = ByGateway("X-User", LiveFile("--gateway-token-file", file, parse_gateway_tokens))
    headers = [(GATEWAY_HEADER.encode(), shown.encode()), (b"x-user", b"alice")]
    return asyncio.run(by_gateway({"type": "http", "headers": headers})) is not None


@pytest.mark.parametrize("taken", [(OLD,), (NEW, OLD)])
@pytest.mark.parametrize("shown", [OLD, f"{NEW} {OLD}"])
def test_the_first_step_to_another_token_refuses_nobody(shown: str, taken: tuple[str, ...], tmp_path: Path) -> None:
    """Traefik and the pods learn of the change in any order."""
    assert believed(shown, *taken, folder=tmp_path)


@pytest.mark.parametrize("taken", [(NEW, OLD), (NEW,)])
@pytest.mark.parametrize("shown", [f"{NEW} {OLD}", NEW])
def test_nor_does_the_second(shown: str, taken: tuple[str, ...], tmp_path: Path) -> None:
    assert believed(shown, *taken, folder=tmp_path)


@pytest.mark.parametrize("shown", [OLD, f"{OLD} {OLD}", f"{OLD}{NEW}", f"{OLD} {OLD} {NEW}", "", " "])
def test_after_it_the_old_token_is_worth_nothing(shown: str, tmp_path: Path) -> None:
    assert not believed(shown, NEW, folder=tmp_path)


def test_a_file_without_a_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the SHA-256"):
        parse_gateway_tokens(b"\n")
    with pytest.raises(ValueError, match="not the SHA-256"):
        parse_gateway_tokens(hashlib.sha256(b"x").hexdigest().encode() + b"\nno digest")
