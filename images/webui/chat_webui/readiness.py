"""Whether this replica should get traffic. The endpoint answers from memory; a task asks engine and Redis.

A busy engine is slow to answer its health check (P95 above 200 ms and spikes of seconds under image load were measured
with vLLM), and taking it out of the balancer for that moves its load to the next one. So one slow answer counts little,
a refused connection much: see `Hysteresis`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from chat_webui.metrics import Metrics
from chat_webui.settings import RedisGate

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two checks."""
ENGINE_WITHIN = 3.0
"""Seconds the engine's health check may take before it counts as slow."""


class Outcome(StrEnum):
    OK = "ok"
    SLOW = "slow"
    DOWN = "down"


@dataclass
class Hysteresis:
    """Up after `up_after` good answers in a row; down once the bad ones since the last good one weigh `down_at`.

    With the defaults and PERIOD: a dead process is seen after 2 checks (2-4 s), a hanging one after 6 (about 30 s), and an
    engine that came back is used after 2 good answers. The very first good answer counts at once.
    """

    up_after: int = 2
    down_at: int = 6
    slow_weighs: int = 1
    down_weighs: int = 3
    up: bool = False
    seen_good: bool = False
    _good: int = 0
    _weight: int = 0

    def observe(self, outcome: Outcome) -> bool:
        if outcome is Outcome.OK:
            self._good += 1
            self._weight = 0
            if self._good >= self.up_after or not self.seen_good:
                self.up = True
            self.seen_good = True
        else:
            self._good = 0
            self._weight += self.slow_weighs if outcome is Outcome.SLOW else self.down_weighs
            if self._weight >= self.down_at:
                self.up = False
        return self.up


@dataclass
class Readiness:
    """Both dependencies, the gate on Redis, and the drain that SIGTERM starts."""

    gate: RedisGate
    metrics: Metrics
    engine: Hysteresis = field(default_factory=Hysteresis)
    redis: Hysteresis = field(default_factory=Hysteresis)
    redis_seen: bool = False
    draining: bool = False

    @property
    def ready(self) -> bool:
        redis = {
            RedisGate.ALWAYS: self.redis.up,
            RedisGate.START: self.redis_seen,
            RedisGate.NEVER: True,
        }[self.gate]
        return self.engine.up and redis and not self.draining

    def state(self) -> dict[str, str | bool]:
        """What `/ready` tells."""
        return {
            "ready": self.ready,
            "engine": "up" if self.engine.up else "down",
            "redis": "up" if self.redis.up else "down",
            "draining": self.draining,
        }

    async def watch(self, engine: Callable[[], Awaitable[None]], redis: Callable[[], Awaitable[None]]) -> None:
        """Checks both every PERIOD seconds until cancelled."""
        while True:
            engine_said, redis_said = await asyncio.gather(outcome(engine), outcome(redis))
            before = self.ready
            self.engine.observe(engine_said)
            self.redis.observe(redis_said)
            self.redis_seen = self.redis_seen or self.redis.up
            self.metrics.up.labels("engine").set(self.engine.up)
            self.metrics.up.labels("redis").set(self.redis.up)
            self.metrics.ready.set(self.ready)
            if self.ready is not before:
                log.info("readiness changed", extra=self.state())
            await asyncio.sleep(PERIOD)


async def outcome(check: Callable[[], Awaitable[None]]) -> Outcome:
    """One check: an answer, none in time, or a failure. Any failure of a check is the dependency's, so all are caught."""
    try:
        await check()
    except TimeoutError:
        return Outcome.SLOW
    except Exception as error:
        return Outcome.SLOW if "timeout" in type(error).__name__.lower() else Outcome.DOWN
    return Outcome.OK
