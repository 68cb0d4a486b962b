"""Log in by name and password, without another service: the page, the session, and the way out.

The session is a signed cookie. Its key is made of the user's own stored hash, so a changed password or a removed user ends
every session of that user, no further secret has to be kept, and replicas need not share anything. Logging out is
remembered through Redis until the session would have ended by itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Scope

from chat_webui.identity import Person, cookie_of, set_cookie
from chat_webui.live_file import LiveFile
from chat_webui.login_page import login_page
from chat_webui.metrics import Metrics
from chat_webui.passwords import HASH, LONGEST, hash_password, verify_password
from chat_webui.shared import Shared
from chat_webui.user_ids import user_id_for

log = logging.getLogger(__name__)

SESSION = "qwen3vl_session"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
FORM_BYTES = 4096
WINDOW = 300
"""Seconds in which attempts are counted together."""
TRIES = {"pair": 10, "address": 60, "name": 100}
"""Attempts in a window: of one address at one name, of one address, at one name from everywhere."""
AT_ONCE = 2
"""Passwords verified at the same time: 32 MiB and a core each."""
IN_LINE = 16


def parse_users(content: bytes) -> dict[str, str]:
    """Name -> hash. Raises ValueError, which shows nothing of the content."""
    try:
        found = json.loads(content)
        users = {str(name): str(stored) for name, stored in found.items()}
    except (ValueError, AttributeError):
        raise ValueError("not a mapping of names to password hashes") from None
    if not all(map(NAME.fullmatch, users)):
        raise ValueError("a user's name is up to 100 letters, digits and . _ @ + -")
    if not all(map(HASH.fullmatch, users.values())):
        raise ValueError("a password hash is made by tools/webui-user")
    return users


@dataclass(frozen=True)
class Session:
    name: str
    expires: int
    id: str


def sealed(session: Session, stored: str) -> str:
    """The cookie's value: what the session is, and a proof that this program gave it out."""
    said = f"{base64.urlsafe_b64encode(session.name.encode()).decode().rstrip('=')}.{session.expires}.{session.id}"
    return f"{said}.{_proof(said, stored)}"


def opened(value: str, users: dict[str, str], now: float) -> Session | None:
    """The session in a cookie, if it is one of ours, not over, and its user still has the password it began with."""
    said, _, proof = value.rpartition(".")
    parts = said.split(".")
    if len(parts) != 3 or not re.fullmatch(r"\d{1,12}", parts[1]):
        return None
    try:
        name = base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    stored = users.get(name)
    if stored is None or not hmac.compare_digest(proof.encode(), _proof(said, stored).encode()):
        return None
    return Session(name, int(parts[1]), parts[2]) if int(parts[1]) > now else None


def _proof(said: str, stored: str) -> str:
    key = hmac.digest(stored.encode(), b"qwen3-vl session", hashlib.sha256)
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


class PasswordLogin:
    """Who a session belongs to, and the answers of `/login`, `/logout` and `/account`."""

    def __init__(self, users: LiveFile[dict[str, str]], shared: Shared, metrics: Metrics, seconds: int) -> None:
        self._users = users
        self._shared = shared
        self._metrics = metrics
        self._seconds = seconds
        self._verifying = asyncio.Semaphore(AT_ONCE)
        self._in_line = 0
        self._nobody = hash_password(secrets.token_hex(16))  # an unknown name costs the same time as a known one

    async def identify(self, scope: Scope) -> Person | None:
        session = await self._session(Request(scope))
        return None if session is None else Person(user_id_for("password", session.name), session.name)

    async def _session(self, request: Request) -> Session | None:
        value = cookie_of(request.headers, SESSION)
        session = opened(value, self._users.now(), time.time()) if value else None
        if session is None or await self._shared.remembers(f"ended:{session.id}"):
            return None
        return session

    async def page(self, request: Request) -> Response:
        if await self._session(request) is not None:
            return _to("/")
        return _page(request)

    async def enter(self, request: Request) -> Response:
        """The form was sent: a session, or the page again with what was wrong, which does not tell whether the name exists."""
        name, password = await _form(request)
        if not name or not password or len(password) > LONGEST:
            return self._refused(request, 401, "wrong", "incomplete")
        if await self._too_often(name, _address(request)) or self._in_line >= IN_LINE:
            return self._refused(request, 429, "often", "too_often")
        stored = self._users.now().get(name)
        self._in_line += 1
        try:
            async with self._verifying:
                right = await asyncio.to_thread(verify_password, password, stored or self._nobody)
        finally:
            self._in_line -= 1
        if stored is None or not right:
            return self._refused(request, 401, "wrong", "wrong")
        self._metrics.logins.labels("in").inc()
        session = Session(name, int(time.time()) + self._seconds, secrets.token_urlsafe(16))
        return _to("/", set_cookie(request.scope, SESSION, sealed(session, stored), self._seconds))

    async def leave(self, request: Request) -> Response:
        session = await self._session(request)
        if session is not None:
            await self._shared.remember(f"ended:{session.id}", session.expires - int(time.time()))
            self._metrics.logins.labels("out").inc()
        return _to("/login", set_cookie(request.scope, SESSION, "", 0))

    async def _too_often(self, name: str, address: str) -> bool:
        """Counted before the password is looked at, so that many attempts at once are not free."""
        what = {"pair": f"{name} {address}", "address": address, "name": name}
        digests = {kind: hashlib.sha256(text.encode()).hexdigest()[:32] for kind, text in what.items()}
        counts = [(kind, await self._shared.count(f"login-{kind}:{digests[kind]}", WINDOW)) for kind in TRIES]
        return any(count > TRIES[kind] for kind, count in counts)

    def _refused(self, request: Request, status: int, message: str, why: str) -> Response:
        self._metrics.logins.labels(why).inc()
        log.warning("login refused", extra={"why": why})
        headers = {"retry-after": str(WINDOW)} if status == 429 else None
        return _page(request, message, status, headers)


def account(logout: str) -> Callable[[Request], Awaitable[Response]]:
    """Tells the page's corner who is logged in; `logout` is a path of ours, the authentication service's address, or empty."""

    async def answer(request: Request) -> Response:
        said = {"name": request.scope.get("user_name", ""), "logout": logout}
        return JSONResponse(said, headers={"cache-control": "no-store"})

    return answer


async def _form(request: Request) -> tuple[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return "", ""
    try:
        fields = parse_qs(body.decode(), max_num_fields=4, keep_blank_values=True)
    except ValueError:
        return "", ""
    return fields.get("name", [""])[0].strip(), fields.get("password", [""])[0]


def _address(request: Request) -> str:
    """The client's, as the gateway saw it: the last entry is the one it wrote itself."""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return forwarded or (request.client.host if request.client else "")


def _page(request: Request, message: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = login_page(request.headers.get("accept-language", ""), message)
    return HTMLResponse(text, status, {"cache-control": "no-store", **(headers or {})})


def _to(path: str, cookie: str = "") -> Response:
    headers = {"cache-control": "no-store", **({"set-cookie": cookie} if cookie else {})}
    return RedirectResponse(path, 303, headers)
