"""Where histories live: Redis under `chat:{user_id}`, with a copy in this process while Redis does not answer.

Redis is never allowed to stop the chat. While it is away, new turns stay in this process (bounded) and the page says
that the history is not saved; the first successful access of that user, or the first sign of life of Redis, writes
them there, merged with what is there.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import redis.asyncio as redis_async
from opentelemetry.trace import SpanKind
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from chat_webui import traces
from chat_webui.history import Bounds, History, HistoryUnreadable
from chat_webui.settings import Settings, SettingsError

log = logging.getLogger(__name__)

ANSWER_WITHIN = 1.0
"""Seconds to wait for Redis, to connect and for each answer: beyond that the chat goes on without it."""
RETRY_AFTER = 2.0
"""Seconds without a further attempt after a failure, so that an outage costs one wait and not one per request."""
COPIES = 256
"""Histories this process keeps for the time Redis is away; the least recently used goes first (at most 256 x 128 KiB)."""
CONFLICTS = 8
"""Attempts of one update that another replica's write keeps overtaking."""

Change = Callable[[History], History]


class _PasswordNow(CredentialProvider):
    """Gives each new connection the password of that moment, so a rotated secret needs no restart."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        return (self._settings.current_redis_password(),)


def connect(settings: Settings) -> redis_async.Redis:
    """A client for one Redis address behind which the primary may change (Sentinel): a connection that turned
    read-only, or broke, is closed and made again once."""
    return redis_async.Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        db=settings.redis_db,
        credential_provider=_PasswordNow(settings) if settings.current_redis_password() else None,
        socket_timeout=ANSWER_WITHIN,
        socket_connect_timeout=ANSWER_WITHIN,
        health_check_interval=15,
        max_connections=512,  # the library's 100 would be the tightest limit of all while Redis is slow
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[ReadOnlyError, RedisConnectionError, RedisTimeoutError],
        decode_responses=True,
    )


@dataclass(frozen=True)
class Loaded:
    """A history, and whether Redis has it."""

    history: History
    saved: bool


@dataclass
class _Copy:
    """The last known history of a user. `unsaved` while it holds what Redis lacks."""

    history: History
    unsaved: bool = False


class HistoryStore:
    """Loads and changes histories. No method raises because of Redis, `answers` apart."""

    def __init__(self, client: redis_async.Redis, ttl: int, bounds: Bounds, on_error: Callable[[], None]) -> None:
        self._client = client
        self._ttl = ttl
        self._bounds = bounds
        self._on_error = on_error
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._not_before = 0.0

    async def load(self, user_id: str) -> Loaded:
        """The history of a user; reading it renews its time to live."""
        if self._copy(user_id).unsaved:
            return await self.change(user_id, lambda history: history)

        async def read() -> History:
            return self._read(cast("str | None", await self._client.getex(self._key(user_id), ex=self._ttl)))

        history = await self._attempt("redis load", read)
        if history is None:
            return Loaded(self._copy(user_id).history, saved=False)
        self._keep(user_id, _Copy(history))
        return Loaded(history, saved=True)

    async def change(self, user_id: str, change: Change) -> Loaded:
        """Applies `change` to what is stored now, safe against another replica writing at the same time."""
        copy = self._copy(user_id)

        async def write() -> History:
            async with self._client.pipeline(transaction=True) as pipe:
                for _ in range(CONFLICTS):
                    await pipe.watch(self._key(user_id))
                    stored = self._read(cast("str | None", await pipe.get(self._key(user_id))))
                    if copy.unsaved:
                        stored = stored.merged(copy.history)
                    changed = change(stored).bounded(self._bounds)
                    pipe.multi()  # type: ignore[no-untyped-call]
                    if changed != History():
                        pipe.set(self._key(user_id), changed.to_json(), ex=self._ttl)
                    else:
                        pipe.delete(self._key(user_id))
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return changed
            raise RedisError(f"{CONFLICTS} conflicting writes")

        history = await self._attempt("redis save", write)
        if history is not None:
            self._keep(user_id, _Copy(history))
            return Loaded(history, saved=True)
        changed = change(copy.history).bounded(self._bounds)
        self._keep(user_id, _Copy(changed, unsaved=True))
        return Loaded(changed, saved=False)

    async def answers(self) -> None:
        """Asks Redis for a sign of life, and saves what it missed: the other replicas know of nothing that is only here.
        Raises RedisError, OSError or SettingsError."""
        await self._client.ping()
        self._not_before = 0.0
        for user_id in [known for known, copy in self._copies.items() if copy.unsaved]:
            if not (await self.change(user_id, lambda history: history)).saved:
                return

    async def close(self) -> None:
        await self._client.aclose()

    @staticmethod
    def _key(user_id: str) -> str:
        return f"chat:{user_id}"

    def _read(self, stored: str | None) -> History:
        if stored is None:
            return History()
        try:
            return History.from_json(stored)
        except HistoryUnreadable as error:
            log.warning("history unreadable, starting a new one", extra={"why": str(error)})
            return History()

    def _copy(self, user_id: str) -> _Copy:
        return self._copies.get(user_id) or _Copy(History())

    def _keep(self, user_id: str, copy: _Copy) -> None:
        self._copies[user_id] = copy
        self._copies.move_to_end(user_id)
        while len(self._copies) > COPIES:
            self._copies.popitem(last=False)

    async def _attempt(self, name: str, use: Callable[[], Awaitable[History]]) -> History | None:
        """What `use` gives, or None while Redis does not answer."""
        if time.monotonic() < self._not_before:
            return None
        try:
            with traces.span(name, SpanKind.CLIENT, None, **{"db.system.name": "redis"}):
                return await use()
        except (RedisError, OSError, SettingsError) as error:
            self._not_before = time.monotonic() + RETRY_AFTER
            self._on_error()
            log.warning("redis does not answer, history is not saved", extra={"why": type(error).__name__})
            return None
