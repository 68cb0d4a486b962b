"""The engine's OpenAI API as the chat uses it: health, the model's name, one streamed completion."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp

from chat_webui import traces
from chat_webui.chat_settings import ChatSettings
from chat_webui.prompt import Message
from chat_webui.settings import Settings
from chat_webui.texts import Told

CONNECT_WITHIN = 5.0
SILENCE_LIMIT = 120.0
"""Seconds without a byte after which an answer counts as lost: above the longest queue the engine should build up."""
DEFAULT_CONTEXT = 8192
"""Tokens, for an engine that does not tell its `max_model_len`."""


class EngineError(Told):
    """The engine did not answer as asked; what the user is told names no address."""


@dataclass(frozen=True)
class Model:
    id: str
    context_tokens: int


@dataclass(frozen=True)
class Piece:
    """A part of an answer: some text, and at the end the tokens that were counted."""

    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class EngineClient:
    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._model: Model | None = None

    async def answers(self, within: float) -> None:
        """Asks for a sign of life. Raises aiohttp.ClientError or TimeoutError."""
        timeout = aiohttp.ClientTimeout(total=within)
        async with self._session.get(f"{self._settings.engine_url}/health", timeout=timeout) as response:
            await response.read()
            if response.status != 404:
                response.raise_for_status()
                return
        async with self._session.get(f"{self._settings.engine_url}/v1/models", timeout=timeout) as response:
            await response.read()
            response.raise_for_status()

    async def model(self) -> Model:
        """The model to ask: `--model`, else MODEL_PATH, if the engine serves one under that name, else its first.

        vLLM names a model by its path unless told a name, so a Deployment that forgets `--served-model-name` works too.
        """
        if self._model is None:
            timeout = aiohttp.ClientTimeout(total=CONNECT_WITHIN)
            async with self._session.get(f"{self._settings.engine_url}/v1/models", timeout=timeout) as response:
                response.raise_for_status()
                served = {entry["id"]: entry for entry in (await response.json())["data"]}
            if not served:
                raise EngineError("engine_no_model")
            wanted = (self._settings.model, self._settings.model_path)
            name = next((name for name in wanted if name in served), next(iter(served)))
            self._model = Model(name, int(served[name].get("max_model_len") or DEFAULT_CONTEXT))
        return self._model

    async def stream(self, model: Model, messages: list[Message], chosen: ChatSettings) -> AsyncGenerator[Piece, None]:
        """One answer, piece by piece. Closing the iterator ends the request at the engine. Raises EngineError."""
        asked, begun = traces.asking(model.id), False
        try:
            async with aclosing(self._streamed(model, messages, chosen, traces.carried(asked))) as pieces:
                async for piece in pieces:
                    if piece.text and not begun:
                        asked.add_event("first token")
                        begun = True
                    if piece.completion_tokens:
                        asked.set_attribute("gen_ai.usage.input_tokens", piece.prompt_tokens)
                        asked.set_attribute("gen_ai.usage.output_tokens", piece.completion_tokens)
                    yield piece
        except EngineError as error:
            traces.failed(asked, error.key)
            raise
        finally:
            asked.end()

    async def _streamed(
        self, model: Model, messages: list[Message], chosen: ChatSettings, headers: dict[str, str]
    ) -> AsyncGenerator[Piece, None]:
        most = min(self._settings.max_new_tokens, model.context_tokens // 2)
        body = {
            "model": model.id,
            "messages": messages,
            "max_tokens": min(chosen.max_tokens, most) if chosen.max_tokens else most,
            "temperature": chosen.temperature,
            "top_p": chosen.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN, sock_read=SILENCE_LIMIT)
        try:
            async with self._session.post(
                f"{self._settings.engine_url}/v1/chat/completions", json=body, headers=headers, timeout=timeout
            ) as response:
                if response.status != 200:
                    if response.status == 404:
                        self._model = None  # the engine came back with another model: ask for its name again
                    raise _refusal(response.status, await response.text())
                ended = False
                async for line in response.content:
                    if line.startswith(b"data: [DONE]"):
                        ended = True
                        break
                    if line.startswith(b"data: "):
                        yield _piece(json.loads(line[6:]))
                if not ended:
                    raise EngineError("engine_broke_off")
        except (TimeoutError, aiohttp.ClientError, ValueError, KeyError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise EngineError("engine_down") from error
            if isinstance(error, asyncio.TimeoutError):
                raise EngineError("engine_slow") from error
            raise EngineError("engine_broke_off") from error


def _piece(event: dict[str, Any]) -> Piece:
    if "error" in event:
        raise EngineError("engine_broke_off")
    usage = event.get("usage") or {}
    choices = event.get("choices") or []
    text = (choices[0].get("delta") or {}).get("content") if choices else ""
    return Piece(text or "", int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0)))


def _refusal(status: int, body: str) -> EngineError:
    """What the user is told of a status: the engine's own words for a bad request, nothing internal otherwise."""
    if status == 400:
        try:
            said = json.loads(body)
            return EngineError("engine_refused", reason=str((said.get("error") or said)["message"])[:300])
        except (ValueError, KeyError, TypeError, AttributeError):
            return EngineError("engine_refused", reason="400")
    if status in (429, 503):
        return EngineError("engine_busy")
    return EngineError("engine_failed", status=status)
