"""Sends the schedule, whatever the answers do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from bench.load.questions import Questions
from bench.load.summary import NOT_SENT, Outcome, Summary, summarize

PATH = "/v1/chat/completions"
START_IN = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An entry point. `host` goes into the Host header (and is the name the certificate must have)."""

    url: str
    path: str = PATH
    host: str = ""
    key: str = field(default="", repr=False)
    ca_file: str = ""

    def headers(self) -> dict[str, str]:
        said = {"Content-Type": "application/json", "Accept-Encoding": "identity"}  # inflating answers is not sending
        if self.host:
            said["Host"] = self.host
        if self.key:
            said["Authorization"] = f"Bearer {self.key}"
        return said


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    timeout: float = 30.0  # seconds, from the moment a request was due
    in_flight: int = 1000  # one that is due beyond this is not sent, and counts as an error
    late_ms: float = 10.0


async def send(
    target: Target,
    questions: Questions,
    due: Sequence[float],
    *,
    rate: float,
    seconds: float,
    stream: bool,
    echo: bool,
    limits: Limits,
) -> Summary:
    """One run. `echo`: the server gives back what it was asked, and an answer to another question is an error."""
    outcomes: list[Outcome] = []
    running: set[asyncio.Task[None]] = set()
    most = 0
    tls = ssl.create_default_context(cafile=target.ca_file or None) if target.url.startswith("https:") else None
    connector = aiohttp.TCPConnector(limit=0, ssl=tls or True)
    session = aiohttp.ClientSession(
        connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
    )
    loop = asyncio.get_running_loop()
    headers = target.headers()
    name = target.host.partition(":")[0] if tls and target.host else None

    async def one(number: int, at: float) -> None:
        body = questions.body(number)
        sent = loop.time()
        first = 0.0
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout_at(at + limits.timeout):
                async with session.post(
                    target.url + target.path, data=body, headers=headers, server_hostname=name, allow_redirects=False
                ) as response:
                    async for chunk in response.content.iter_any():
                        first = first or loop.time()
                        chunks.append(chunk)
                    error = judge(response.status, b"".join(chunks), stream, questions.tag(number) if echo else "")
        except Exception as failure:  # every kind of failure is a result here
            error = kind(failure)
        done = loop.time()
        outcomes.append(Outcome(at - start, sent - start, (first or done) - start, done - start, error))

    async with session:
        start = loop.time() + START_IN
        cpu = time.process_time()
        for number, after in enumerate(due):
            at = start + after
            if (wait := at - loop.time()) > 0:
                await asyncio.sleep(wait)
            if len(running) >= limits.in_flight:
                outcomes.append(Outcome(after, after, after, after, NOT_SENT))
                continue
            task = asyncio.create_task(one(number, at))
            running.add(task)
            task.add_done_callback(running.discard)
            most = max(most, len(running))
        while running:
            await asyncio.wait(running)
        cpu = time.process_time() - cpu
    return summarize(
        outcomes, wanted_rate=rate, seconds=seconds, most_in_flight=most, cpu_seconds=cpu, late_limit_ms=limits.late_ms
    )


def judge(status: int, body: bytes, stream: bool, tag: str) -> str:
    """Empty for a complete and right answer."""
    if status != 200:
        return f"status {status}"
    if stream and not body.rstrip().endswith(b"data: [DONE]"):
        return "cut stream"
    if not stream and b'"choices"' not in body:
        return "no choices"
    return "" if tag.encode() in body else "wrong answer"


def kind(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "timeout"
    if isinstance(failure, aiohttp.ClientConnectorError):
        return "not connected"
    if isinstance(failure, aiohttp.ClientError | ConnectionError):
        return "connection lost"
    return type(failure).__name__


def go_first() -> None:
    """Ahead of what it measures, where that is allowed (root): a generator that waits for the processor measures itself."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
