"""Small facts that all replicas share through Redis: how often something happened, and that something happened at all.

While Redis is away each process keeps them by itself, so a limit then holds for each replica and nobody is locked out.
"""

from __future__ import annotations

import asyncio
import time

import redis.asyncio as redis_async
from redis.exceptions import RedisError

WITHIN = 0.25
"""Seconds Redis may take; it stands in the way of a request."""
PAUSE = 5.0
"""Seconds for which Redis is not asked again after it failed, so that its outage costs one wait and not one a request."""
MOST = 10_000
"""Facts kept in this process; beyond, those that expire first are forgotten."""


class Shared:
    def __init__(self, redis: redis_async.Redis) -> None:
        self._redis = redis
        self._away_until = 0.0
        self._own: dict[str, tuple[int, float]] = {}

    async def count(self, what: str, seconds: int) -> int:
        """How often this was called for `what` in the current window of `seconds`, this time included."""
        key = f"count:{what}:{int(time.time()) // seconds}"
        own = self._note(key, seconds)
        try:
            async with asyncio.timeout(self._patience()):
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.incr(key)
                pipeline.expire(key, 2 * seconds)
                return int((await pipeline.execute())[0])
        except (RedisError, OSError, TimeoutError):
            self._failed()
            return own

    async def remember(self, what: str, seconds: int) -> None:
        """Makes `remembers(what)` true for so many seconds."""
        self._note(f"fact:{what}", seconds)
        try:
            async with asyncio.timeout(self._patience()):
                await self._redis.set(f"fact:{what}", 1, ex=max(1, seconds))
        except (RedisError, OSError, TimeoutError):
            self._failed()

    async def remembers(self, what: str) -> bool:
        if self._own.get(f"fact:{what}", (0, 0.0))[1] > time.monotonic():
            return True
        try:
            async with asyncio.timeout(self._patience()):
                return bool(await self._redis.exists(f"fact:{what}"))
        except (RedisError, OSError, TimeoutError):
            self._failed()
            return False

    def _patience(self) -> float:
        if time.monotonic() < self._away_until:
            raise TimeoutError
        return WITHIN

    def _failed(self) -> None:
        if time.monotonic() >= self._away_until:
            self._away_until = time.monotonic() + PAUSE

    def _note(self, key: str, seconds: int) -> int:
        now = time.monotonic()
        if len(self._own) >= MOST:
            latest = sorted(self._own.items(), key=lambda item: item[1][1])[MOST // 2 :]
            self._own = {name: fact for name, fact in latest if fact[1] > now}
        times, until = self._own.get(key, (0, 0.0))
        self._own[key] = (times + 1 if until > now else 1, now + seconds)
        return self._own[key][0]
