"""One span for each answer, as vLLM tells them with `--otlp-traces-endpoint`: only below a `traceparent` that is followed.

OTLP in JSON, without a library. What cannot be sent at once is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from typing import Any

import aiohttp

log = logging.getLogger("engine")

PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
WAITING = 64
SERVER = 2
"""OTLP's number of that kind of span."""


class Spans:
    """`endpoint` is where OTLP over HTTP is taken; empty: nothing is told."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._sending: set[asyncio.Task[None]] = set()

    def tell(self, traceparent: str, began: float, usage: dict[str, int]) -> None:
        """The span of an answer that is over and `began` then, as of `time.time()`."""
        above = PARENT.fullmatch(traceparent)
        if not self._endpoint or above is None or not int(above[3], 16) & 1 or len(self._sending) >= WAITING:
            return
        span = {
            "traceId": above[1],
            "spanId": secrets.token_hex(8),
            "parentSpanId": above[2],
            "name": "llm_request",
            "kind": SERVER,
            "startTimeUnixNano": nanoseconds(began),
            "endTimeUnixNano": nanoseconds(time.time()),
            "attributes": [
                whole("gen_ai.usage.prompt_tokens", usage["prompt_tokens"]),
                whole("gen_ai.usage.completion_tokens", usage["completion_tokens"]),
            ],
        }
        sending = asyncio.create_task(self._send(span))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, span: dict[str, Any]) -> None:
        service = {"attributes": [{"key": "service.name", "value": {"stringValue": "engine"}}]}
        body = {"resourceSpans": [{"resource": service, "scopeSpans": [{"scope": {"name": "lab"}, "spans": [span]}]}]}
        timeout = aiohttp.ClientTimeout(total=2)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.post(self._endpoint, json=body):
                pass
        except (aiohttp.ClientError, TimeoutError) as error:
            log.debug("a span was dropped: %s", type(error).__name__)


def nanoseconds(seconds: float) -> str:
    return str(int(seconds * 1e9))


def whole(key: str, value: int) -> dict[str, Any]:
    return {"key": key, "value": {"intValue": str(value)}}
