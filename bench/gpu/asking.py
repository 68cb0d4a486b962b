"""Closed-loop questions: so many at the same time, the next when one is answered. They show what a step and a prompt cost.

The load that users make is open loop (bench.load); this is for taking the parts of the arithmetic one by one.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from bench.gpu.engine import URL
from bench.load.generator import PATH


@dataclass(frozen=True, slots=True)
class Answer:
    """Moments in seconds of one clock: sent, and each event that carried text. Tokens as the engine counted them."""

    sent: float
    events: tuple[float, ...]
    prompt_tokens: int
    tokens: int

    @property
    def first_token(self) -> float:
        return self.events[0] - self.sent


async def ask(session: aiohttp.ClientSession, body: bytes) -> Answer:
    """Raises ValueError if the answer is not a complete stream."""
    sent = time.monotonic()
    events: list[float] = []
    usage: dict[str, int] = {}
    async with session.post(URL + PATH, data=body, headers={"Content-Type": "application/json"}) as response:
        async for line in response.content:
            now = time.monotonic()
            if response.status != 200:
                raise ValueError(f"{response.status}: {line[:500]!r}")
            if line.startswith(b"data: {"):
                said = json.loads(line[6:])
                usage = said.get("usage") or usage
                if any(choice["delta"].get("content") for choice in said["choices"]):
                    events.append(now)
    if not usage or not events:
        raise ValueError(f"a stream of {len(events)} events without {'text' if usage else 'usage'}")
    return Answer(sent, tuple(events), usage["prompt_tokens"], usage["completion_tokens"])


async def ask_all(bodies: Sequence[bytes], together: int) -> list[Answer]:
    """All of them, `together` at the same time."""
    waiting = iter(bodies)
    answers: list[Answer] = []
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:

        async def one_after_another() -> None:
            for body in waiting:
                answers.append(await ask(session, body))

        await asyncio.gather(*(one_after_another() for _ in range(together)))
    return answers


def step_seconds(answers: Sequence[Answer]) -> float:
    """Seconds from one token of a request to its next while all of `answers`, sent at once, are being written.

    Events may carry several tokens; each stands for its share of the answer. Raises ValueError if they never overlapped.
    """
    begin = max(answer.events[0] for answer in answers)
    end = min(answer.events[-1] for answer in answers)
    if end <= begin:
        raise ValueError("the answers were not written at the same time")
    rates = [
        sum(begin < moment <= end for moment in answer.events) * answer.tokens / len(answer.events) / (end - begin)
        for answer in answers
    ]
    return 1 / statistics.mean(rates)
