"""Who is asking. Three kinds of login, each of which turns a request into the id that `chat:{user_id}` is made of.

`none` gives each browser an unguessable id in a cookie, which is then the only key to its conversation and so a secret:
HttpOnly, SameSite=Lax, Secure behind HTTPS, never logged and never passed to the engine. `password` reads the session that
the login page gave out (login.py). `forward-auth` takes the name that the gateway's authentication service found.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_webui.limits import answer
from chat_webui.live_file import LiveFile
from chat_webui.user_ids import USER_ID, new_user_id, user_id_for

log = logging.getLogger(__name__)

COOKIE = "qwen3vl_user"
MAX_AGE = 30 * 24 * 3600
"""Seconds the browser keeps the cookie; the history behind it expires much earlier."""
MACHINES = re.compile(r"/v1(/.*)?|/healthz|/ready|/metrics", re.DOTALL)
"""What programs ask for: nobody's conversation is behind it. `/v1` has keys of its own."""
PUBLIC = re.compile(
    r"/login|/account\.js|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(assets|static)/[\w./@-]+"
)
"""Files that are the same for everybody, and the way in."""
GATEWAY_HEADER = "x-qwen3-vl-gateway"
LONGEST_NAME = 256


@dataclass(frozen=True)
class Person:
    """`user_id` names the conversation; `name` is shown to its owner; `cookie` is sent back if it is not empty."""

    user_id: str
    name: str = ""
    cookie: str = ""


Identify = Callable[[Scope], Awaitable[Person | None]]


def cookie_of(headers: Headers, name: str) -> str:
    """The value of a cookie, empty if there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def set_cookie(scope: Scope, name: str, value: str, max_age: int) -> str:
    """A Set-Cookie header: out of reach of scripts and, as far as the browser may ask for, of other sites and of plain HTTP."""
    secure = scope["scheme"] == "https" or Headers(scope=scope).get("x-forwarded-proto") == "https"
    return f"{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"


async def by_cookie(scope: Scope) -> Person:
    """Everybody is let in; a browser without the cookie gets one, and the page renews its age."""
    found = cookie_of(Headers(scope=scope), COOKIE)
    known = found if USER_ID.fullmatch(found) else None
    user_id = known or new_user_id()
    renewed = known is None or scope["path"] == "/"
    return Person(user_id, cookie=set_cookie(scope, COOKIE, user_id, MAX_AGE) if renewed else "")


def parse_gateway_tokens(content: bytes) -> tuple[str, ...]:
    """The SHA-256 of each token that is taken: two lines while one replaces the other. Raises ValueError, which shows none."""
    digests = tuple(content.decode("ascii", "replace").split())
    if not digests or not all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests):
        raise ValueError("not the SHA-256 of the gateway's token in lower case")
    return digests


class ByGateway:
    """The name in the header that the gateway sets after its authentication service let the request pass.

    The gateway overwrites that header whatever a client sent, and proves itself by a token that only it and this program
    know: a pod of the cluster that comes past the gateway may write any name, but has no token.
    """

    def __init__(self, header: str, tokens: LiveFile[tuple[str, ...]]) -> None:
        self._header = header.lower()
        self._tokens = tokens

    async def __call__(self, scope: Scope) -> Person | None:
        headers = Headers(scope=scope)
        if not self._comes_from_the_gateway(headers.get(GATEWAY_HEADER, "")):
            log.warning("a request came past the gateway")
            return None
        names = [name.strip() for name in headers.getlist(self._header)]
        if len(names) != 1 or not names[0].isprintable() or not 0 < len(names[0]) <= LONGEST_NAME:
            return None
        return Person(user_id_for("forward-auth", names[0]), names[0])

    def _comes_from_the_gateway(self, shown: str) -> bool:
        """It shows the old token and the new one while they change."""
        digests = [hashlib.sha256(token.encode("latin-1")).hexdigest() for token in shown.split(" ", 1)]
        return any(hmac.compare_digest(digest, known) for digest in digests for known in self._tokens.now())


def from_elsewhere(scope: Scope) -> bool:
    """Whether a browser says that another site's page sent the request. Programs say nothing."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return False
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    own = (headers.get("host", ""), headers.get("x-forwarded-host", ""))
    sender = urlsplit(origin or "").netloc
    return origin is not None and (not sender or sender not in own)


class IdentityMiddleware:
    """Puts the person's id into `scope["user_id"]` (and the name into `scope["user_name"]`), or says that nobody is there.

    With a login page, `login_page`, a browser that asks for the page is sent there.
    """

    def __init__(self, app: ASGIApp, identify: Identify = by_cookie, login_page: str = "") -> None:
        self._app = app
        self._identify = identify
        self._login_page = login_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or MACHINES.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        if from_elsewhere(scope):
            await answer(send, 403, "this was sent by a page of another site", code="cross_site")
            return
        person = await self._identify(scope)
        if person is None:
            if PUBLIC.fullmatch(scope["path"]):
                await self._app(scope, receive, send)
            else:
                await self._nobody(scope, send)
            return
        scope["user_id"], scope["user_name"] = person.user_id, person.name

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                if person.cookie:
                    MutableHeaders(scope=message).append("set-cookie", person.cookie)
                if scope["path"] == "/":  # a page of one user's must not come back from a cache to another
                    MutableHeaders(scope=message).setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, with_cookie)

    async def _nobody(self, scope: Scope, send: Send) -> None:
        if self._login_page and scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
            headers = [
                (b"location", self._login_page.encode()),
                (b"cache-control", b"no-store"),
                (b"content-length", b"0"),
            ]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await answer(send, 401, "log in first", code="not_logged_in")
