"""Asking, stopping, repeating: the one place that changes a conversation.

An answer is written by a task of its own, not by the browser's connection: a closed or reloaded page loses nothing, the
page that comes back finds the answer growing or finished. The question is stored before the engine is asked, the answer
when it is complete, so after the loss of a replica at most the answer in progress has to be asked for again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import aiohttp

from chat_webui.engine_client import EngineClient, EngineError
from chat_webui.history import History, Turn, TurnState
from chat_webui.history_store import HistoryStore
from chat_webui.images import ImageShelf, PreparedImage
from chat_webui.metrics import Metrics
from chat_webui.prompt import messages_for
from chat_webui.settings import Settings

log = logging.getLogger(__name__)

FRAME = 0.05
"""Seconds between two views of a growing answer: 20 a second look continuous, more only cost."""
ANSWER_LIMIT = 60_000
"""Characters of one answer, so that an engine without an end cannot fill the memory."""


class Refused(Exception):
    """The question cannot be asked now; the text tells the user why."""


@dataclass(frozen=True)
class View:
    """What a page shows: turns, whether Redis has them, whether the last answer still grows, and what went wrong."""

    history: History
    saved: bool
    answering: bool = False
    error: str = ""


@dataclass
class Answering:
    """A turn whose answer is being written by `task`; `writer` is the part of it that a stop ends."""

    turn: Turn
    history: History
    saved: bool
    pieces: list[str] = field(default_factory=list)
    error: str = ""
    stopped: bool = False
    writer: asyncio.Task[None] | None = None
    task: asyncio.Task[None] | None = None

    @property
    def done(self) -> bool:
        return self.task is not None and self.task.done()

    def stop(self) -> None:
        self.stopped = True
        if self.writer is not None:
            self.writer.cancel()

    def view(self) -> View:
        if self.done:
            return View(self.history, self.saved, error=self.error)
        grown = replace(self.turn, answer="".join(self.pieces))
        history = self.history.with_turn(grown) if self.turn.id else self.history
        return View(history, self.saved, answering=True)

    async def views(self) -> AsyncIterator[View]:
        """The conversation each time it grew, at most every `FRAME` seconds, the finished one last."""
        shown = -1
        while not self.done:
            if len(self.pieces) > shown:
                shown = len(self.pieces)
                yield self.view()
            if self.task is None:
                await asyncio.sleep(FRAME)
            else:
                await asyncio.wait([self.task], timeout=FRAME)
        yield self.view()


class Conversations:
    def __init__(
        self, store: HistoryStore, engine: EngineClient, shelf: ImageShelf, metrics: Metrics, settings: Settings
    ) -> None:
        self._store = store
        self._engine = engine
        self._shelf = shelf
        self._metrics = metrics
        self._max_chats = settings.max_chats
        self._max_images = settings.max_images
        self._running: dict[str, Answering] = {}

    @property
    def in_flight(self) -> int:
        return len(self._running)

    def running(self, user_id: str) -> Answering | None:
        """The answer this replica is writing for the user."""
        return self._running.get(user_id)

    async def view(self, user_id: str) -> View:
        running = self._running.get(user_id)
        if running is not None:
            return running.view()
        loaded = await self._store.load(user_id)
        return View(loaded.history, loaded.saved)

    async def ask(self, user_id: str, question: str, images: list[PreparedImage]) -> Answering:
        """Starts an answer. Raises Refused."""
        for image in images:
            self._shelf.put(image)
        turn = Turn(secrets.token_hex(8), time.time(), question, tuple(image.kept for image in images))
        return await self._start(user_id, lambda history: history.with_turn(turn))

    async def retry(self, user_id: str) -> Answering:
        """Asks the last question again, in place of its answer. Raises Refused."""
        if not (await self._store.load(user_id)).history.turns:
            raise Refused("there is no question to ask again")

        def again(history: History) -> History:
            return history.with_turn(replace(history.turns[-1], answer="", state=TurnState.ANSWERING))

        return await self._start(user_id, again)

    async def _start(self, user_id: str, change: Callable[[History], History]) -> Answering:
        if user_id in self._running:
            raise Refused("an answer is still being written; stop it or wait")
        if len(self._running) >= self._max_chats:
            raise Refused("too many answers are being written right now; try again in a moment")
        answering = Answering(Turn("", 0.0, ""), History(), saved=False)
        self._running[user_id] = answering  # before the first await, so that a second click finds it
        try:
            loaded = await self._store.change(user_id, change)
        except BaseException:
            del self._running[user_id]
            raise
        answering.history, answering.saved, answering.turn = loaded.history, loaded.saved, loaded.history.turns[-1]
        answering.task = asyncio.create_task(self._answer(user_id, answering))
        return answering

    def stop(self, user_id: str) -> None:
        """Ends the answer being written; what is there stays."""
        running = self._running.get(user_id)
        if running is not None:
            running.stop()

    async def clear(self, user_id: str) -> View:
        running = self._running.get(user_id)
        if running is not None and running.task is not None:
            running.stop()
            await asyncio.wait([running.task])
        loaded = await self._store.clear(user_id)
        return View(loaded.history, loaded.saved)

    async def stop_all(self, within: float) -> None:
        """Ends every answer being written and waits until what is there is saved."""
        for answering in self._running.values():
            answering.stop()
        tasks = [answering.task for answering in self._running.values() if answering.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within)

    async def _answer(self, user_id: str, answering: Answering) -> None:
        started = time.monotonic()
        state = TurnState.FAILED
        answering.writer = asyncio.create_task(self._write(answering, started))
        if answering.stopped:
            answering.writer.cancel()
        try:
            await answering.writer
            state = TurnState.DONE
        except asyncio.CancelledError:
            state = TurnState.STOPPED
            if not answering.stopped:
                raise
        except EngineError as error:
            answering.error = str(error)
            log.warning("answer failed", extra={"why": str(error)})
        except (TimeoutError, aiohttp.ClientError) as error:
            answering.error = "the engine cannot be reached"
            log.warning("answer failed", extra={"why": type(error).__name__})
        except Exception as error:  # a fault here must end as a message on the page, not as an answer that never ends
            answering.error = "something went wrong here"
            log.error("answer failed", extra={"why": type(error).__name__}, exc_info=True)
        finally:
            turn = replace(answering.turn, answer="".join(answering.pieces), state=state)
            loaded = await self._store.change(user_id, lambda history: history.with_turn(turn))
            answering.history, answering.saved = loaded.history, loaded.saved
            self._running.pop(user_id, None)
            self._metrics.chats.labels(state.value).inc()
            self._metrics.chat_seconds.observe(time.monotonic() - started)

    async def _write(self, answering: Answering, started: float) -> None:
        model = await self._engine.model()
        messages = messages_for(answering.history, self._shelf, model.context_tokens // 2, self._max_images)
        length = 0
        async with aclosing(self._engine.stream(model, messages)) as stream:
            async for piece in stream:
                if piece.text:
                    if not answering.pieces:
                        self._metrics.first_token_seconds.observe(time.monotonic() - started)
                    answering.pieces.append(piece.text)
                    length += len(piece.text)
                self._metrics.tokens.labels("prompt").inc(piece.prompt_tokens)
                self._metrics.tokens.labels("completion").inc(piece.completion_tokens)
                if length > ANSWER_LIMIT:
                    break
