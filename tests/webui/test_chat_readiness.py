"""When a replica counts as ready: tables of check results and what they make of it."""

from __future__ import annotations

import asyncio

import pytest
from chat_webui.metrics import Metrics
from chat_webui.readiness import Hysteresis, Outcome, Readiness, outcome
from chat_webui.settings import RedisGate

RESULTS = {"o": Outcome.OK, "s": Outcome.SLOW, "d": Outcome.DOWN}


@pytest.mark.parametrize(
    ("checks", "ups"),
    [
        pytest.param("o", "U", id="the first good answer counts at once"),
        pytest.param("dddo", "---U", id="also after bad ones"),
        pytest.param("osoo", "UUUU", id="one slow answer changes nothing"),
        pytest.param("odoo", "UUUU", id="one refused connection changes nothing"),
        pytest.param("odd", "UU-", id="two refused connections do"),
        pytest.param("osssss", "UUUUUU", id="five slow answers do not"),
        pytest.param("ossssss", "UUUUUU-", id="six do"),
        pytest.param("osssd", "UUUU-", id="slow and refused add up"),
        pytest.param("ossssosssss", "UUUUUUUUUUU", id="a good answer between forgives all"),
        pytest.param("oddo", "UU--", id="back only after two good answers"),
        pytest.param("oddoo", "UU--U", id="back after two good answers"),
        pytest.param("oddodo", "UU----", id="flapping stays down"),
    ],
)
def test_hysteresis(checks: str, ups: str) -> None:
    state = Hysteresis()
    assert "".join("U" if state.observe(RESULTS[check]) else "-" for check in checks) == ups


@pytest.mark.parametrize(
    ("gate", "engine", "redis", "redis_seen", "ready"),
    [
        (RedisGate.START, True, True, True, True),
        (RedisGate.START, True, False, True, True),
        (RedisGate.START, True, False, False, False),
        (RedisGate.START, False, True, True, False),
        (RedisGate.ALWAYS, True, False, True, False),
        (RedisGate.ALWAYS, True, True, True, True),
        (RedisGate.NEVER, True, False, False, True),
        (RedisGate.NEVER, False, False, False, False),
    ],
)
def test_gates(gate: RedisGate, engine: bool, redis: bool, redis_seen: bool, ready: bool) -> None:
    state = Readiness(gate, Metrics(), Hysteresis(up=engine), Hysteresis(up=redis), redis_seen=redis_seen)
    assert state.ready is ready
    state.draining = True
    assert not state.ready


def test_outcomes_tell_slow_from_down() -> None:
    async def slow() -> None:
        raise TimeoutError

    async def refused() -> None:
        raise ConnectionRefusedError

    async def good() -> None:
        return

    async def all_of_them() -> list[Outcome]:
        return [await outcome(check) for check in (slow, refused, good)]

    assert asyncio.run(all_of_them()) == [Outcome.SLOW, Outcome.DOWN, Outcome.OK]


def test_redis_timeouts_are_slow_too() -> None:
    from redis.exceptions import AuthenticationError
    from redis.exceptions import TimeoutError as RedisTimeoutError

    async def slow() -> None:
        raise RedisTimeoutError("Timeout reading from socket")

    async def wrong_password() -> None:
        raise AuthenticationError("WRONGPASS")

    assert asyncio.run(outcome(slow)) is Outcome.SLOW
    assert asyncio.run(outcome(wrong_password)) is Outcome.DOWN
