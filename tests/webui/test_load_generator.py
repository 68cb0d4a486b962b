"""The generator really sends what it says: counted by a server, and by the stand-in engine behind a real web UI."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("gradio")

from aiohttp import web

from bench.load.generator import Limits, Target, send
from bench.load.questions import Questions, Shape
from bench.load.schedule import due_times
from bench.load.summary import NOT_SENT, Summary
from tests.support.chat_processes import ROOT, Engine, Redis, WebUi, free_port

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def run(answer: Answer, rate: float, seconds: float, *, stream: bool = False, limits: Limits | None = None) -> Summary:
    """One short run against a server in this process."""

    async def both() -> Summary:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            return await send(
                Target(url=f"http://127.0.0.1:{port}", host="chat.example.com", key="secret-key"),
                Questions(Shape(model="m", stream=stream, max_tokens=8, kilobytes=60, width=320, height=240), 0),
                due_times("constant", rate, seconds, 1000, 0),
                rate=rate,
                seconds=seconds,
                stream=stream,
                echo=False,
                limits=limits or Limits(late_ms=10_000),
            )
        finally:
            await runner.cleanup()

    return asyncio.run(both())


def test_a_server_counts_what_the_generator_says_it_sent() -> None:
    digests: list[str] = []
    headers: list[tuple[str | None, str | None]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = json.loads(await request.read())
        url = body["messages"][0]["content"][1]["image_url"]["url"]
        file = base64.b64decode(url.partition(",")[2], validate=True)
        assert len(file) == 60_000
        digests.append(hashlib.sha256(file).hexdigest())
        headers.append((request.headers.get("Host"), request.headers.get("Authorization")))
        return web.json_response({"choices": []})

    found = run(answer, 30, 1)
    assert found.sent == found.answered == len(digests) == len(set(digests)) == 30
    assert set(headers) == {("chat.example.com", "Bearer secret-key")}
    assert found.errors == {}


def test_a_server_that_answers_nothing_does_not_slow_the_questions() -> None:
    """Open loop: all 20 are asked within their second although none is answered; each waits for its own deadline only."""
    asked = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        await request.read()
        asked += 1
        await asyncio.sleep(8)
        return web.json_response({"choices": []})

    found = run(answer, 20, 1, limits=Limits(timeout=5, late_ms=10_000))
    assert found.sent == asked == 20
    assert found.errors == {"timeout": 20}
    assert found.most_in_flight == 20
    assert found.invalid == ["no request was answered"]


def test_more_in_flight_than_allowed_is_an_error_and_no_delay() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        await asyncio.sleep(8)
        return web.json_response({"choices": []})

    found = run(answer, 20, 1, limits=Limits(timeout=3, in_flight=5, late_ms=10_000))
    assert found.errors == {NOT_SENT: 15, "timeout": 5}


def test_a_stream_that_breaks_off_and_a_refusal_are_errors_of_their_own_kind() -> None:
    number = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal number
        await request.read()
        number += 1
        if number % 2:
            return web.Response(status=429)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'data: {"choices": []}\n\n')
        return response

    found = run(answer, 10, 1, stream=True)
    assert found.errors == {"cut stream": 5, "status 429": 5}


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
@pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["plain", "stream"])
def test_the_command_through_the_web_ui_to_the_stand_in_engine(stream: list[str]) -> None:
    with Redis() as redis, Engine(time_scale=0) as engine, WebUi(engine, redis.port) as webui:
        webui.wait_ready()
        said = ["--rate", "8", "--seconds", "2", "--echo", "--json", "--late-ms", "10000", *stream]
        done = subprocess.run(
            [sys.executable, "-m", "bench.load", webui.url, *said],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        found = json.loads(done.stdout)
        assert found["errors"] == {}
        assert found["sent"] == found["answered"] == engine.metric("vllm:request_success_total") > 0
        assert webui.metric("webui_http_requests_total") >= found["sent"]
