"""What the engine is asked for, and what a user is told of its refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from chat_webui.chat_settings import ChatSettings
from chat_webui.engine_client import EngineClient, EngineError, Model
from chat_webui.settings import parse_settings

MODEL = Model("m", 4096)


async def _asked(
    answer: web.Response, chosen: ChatSettings, model: Model = MODEL
) -> tuple[dict[str, Any], EngineError | None]:
    """The body one question brings to an engine that answers so, and the failure that comes of it."""
    bodies: list[dict[str, Any]] = []

    async def chat(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return answer

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    failure: EngineError | None = None
    try:
        async with aiohttp.ClientSession() as session:
            client = EngineClient(parse_settings(["--engine-url", url, "--max-new-tokens", "1000"], {}), session)
            try:
                async for _ in client.stream(model, [{"role": "user", "content": "hi"}], chosen):
                    pass
            except EngineError as error:
                failure = error
    finally:
        await runner.cleanup()
    return bodies[0], failure


DONE = 'data: {"choices": [{"delta": {"content": "hi"}}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    ("chosen", "model", "tokens"),
    [
        (ChatSettings(temperature=0.25, top_p=0.5, max_tokens=64), MODEL, 64),
        (ChatSettings(), MODEL, 1000),
        (ChatSettings(max_tokens=5000), MODEL, 1000),
        (ChatSettings(max_tokens=900), Model("m", 1024), 512),
    ],
)
def test_the_users_settings_reach_the_engine_within_its_limits(chosen: ChatSettings, model: Model, tokens: int) -> None:
    body, failure = asyncio.run(_asked(web.Response(text=DONE), chosen, model))
    assert failure is None
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (chosen.temperature, chosen.top_p, tokens)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (429, "", "The engine is full right now"),
        (503, "", "The engine is full right now"),
        (500, "http://10.0.0.7 stack", "the engine failed (status 500)"),
        (400, '{"error": {"message": "too long"}}', "too long"),
        (400, "[]", "The engine refused the question: 400"),
        (200, 'data: {"error": {"message": "10.0.0.7"}}\n\n', "the answer broke off"),
        (200, "data: {}\n\n", "the answer broke off"),
    ],
)
def test_a_refusal_is_told_in_words_that_name_nothing_internal(status: int, body: str, told: str) -> None:
    _, failure = asyncio.run(_asked(web.Response(status=status, text=body), ChatSettings()))
    assert failure is not None
    assert told in failure.text("en")
    assert "10.0.0.7" not in failure.text("en")
    assert failure.text("zh-CN") != failure.text("en")
