"""Asking, stopping, repeating, deleting: the one place that changes what a user has.

An answer is written by a task of its own, not by the browser's connection: a closed or reloaded page loses nothing, the
page that comes back finds the answer growing or finished. The question is stored before the engine is asked, the answer
when it is complete, so after the loss of a replica at most the answer in progress has to be asked for again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import aiohttp

from chat_webui import traces
from chat_webui.chat_settings import ChatSettings
from chat_webui.conversation import ID, Conversation, Turn, TurnState, new_id
from chat_webui.engine_client import EngineClient, EngineError
from chat_webui.history import History
from chat_webui.history_store import HistoryStore
from chat_webui.images import ImageShelf, PreparedImage
from chat_webui.metrics import Metrics
from chat_webui.prompt import messages_for
from chat_webui.settings import Settings
from chat_webui.texts import Told

log = logging.getLogger(__name__)

FRAME = 0.05
"""Seconds between two views of a growing answer: 20 a second look continuous, more only cost."""
IN_LINE_AFTER = 5.0
"""Seconds without a first word after which the page says that the question is waiting in line."""
ANSWER_LIMIT = 60_000
"""Characters of one answer, so that an engine without an end cannot fill the memory."""
ANSWERS_OF_ONE_USER = 3
"""Answers one user may have in progress, each in a conversation of its own."""


class Refused(Told):
    """What was asked for cannot be done now."""


@dataclass(frozen=True)
class View:
    """What a page shows: a user's history and the open conversation, whether Redis has them, whether the last answer still
    grows (or has been waiting long for its first word), and what went wrong."""

    history: History
    conversation: Conversation
    saved: bool
    answering: bool = False
    in_line: bool = False
    error: Told | None = None


@dataclass
class Answering:
    """A turn whose answer is being written by `task`; `writer` is the part of it that a stop ends."""

    conversation: Conversation
    settings: ChatSettings
    history: History = field(default_factory=History)
    saved: bool = False
    pieces: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    error: Told | None = None
    stopped: bool = False
    writer: asyncio.Task[None] | None = None
    task: asyncio.Task[None] | None = None

    @property
    def done(self) -> bool:
        return self.task is not None and self.task.done()

    @property
    def in_line(self) -> bool:
        return not self.pieces and time.monotonic() - self.started > IN_LINE_AFTER

    def stop(self) -> None:
        self.stopped = True
        if self.writer is not None:
            self.writer.cancel()

    def view(self) -> View:
        if self.done:
            return View(self.history, self.conversation, self.saved, error=self.error)
        conversation = self.conversation
        if conversation.turns:
            conversation = conversation.with_turn(replace(conversation.turns[-1], answer="".join(self.pieces)))
        return View(self.history, conversation, self.saved, answering=True, in_line=self.in_line)

    async def views(self, left: asyncio.Event) -> AsyncIterator[View]:
        """The conversation each time it grew, at most every `FRAME` seconds, the finished one last; nothing more once `left`."""
        shown = (-1, False)
        while not self.done:
            if left.is_set():
                return
            if (now := (len(self.pieces), self.in_line)) != shown:
                shown = now
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
        self._running: dict[tuple[str, str], Answering] = {}

    @property
    def in_flight(self) -> int:
        return len(self._running)

    def running(self, user_id: str, conversation_id: str) -> Answering | None:
        """The answer this replica is writing in the conversation."""
        return self._running.get((user_id, conversation_id))

    async def view(self, user_id: str, conversation_id: str) -> View:
        """The conversation of that id; a new one if there is none (any more)."""
        loaded = await self._store.load(user_id)
        running = self.running(user_id, conversation_id)
        if running is not None:
            return replace(running.view(), history=loaded.history)  # others may have come since its question
        conversation = loaded.history.conversation(conversation_id) or Conversation(new_id())
        return View(loaded.history, conversation, loaded.saved)

    async def newest(self, user_id: str) -> View:
        """The conversation used last, or a new one."""
        newest = (await self._store.load(user_id)).history.newest
        return await self.view(user_id, newest.id if newest else "")

    async def ask(
        self, user_id: str, conversation_id: str, question: str, images: list[PreparedImage], settings: ChatSettings
    ) -> Answering:
        """Starts an answer, in a new conversation if there is none of that id. Raises Refused.

        The page makes up the id of a new conversation, so that a second click meets the first.
        """
        for image in images:
            self._shelf.put(image)
        turn = Turn(new_id(), time.time(), question, tuple(image.kept for image in images))
        history = (await self._store.load(user_id)).history
        if conversation_id in history.deleted or not ID.fullmatch(conversation_id):
            conversation_id = new_id()
        conversation = history.conversation(conversation_id) or Conversation(conversation_id)
        return await self._start(user_id, conversation.with_turn(turn), settings)

    async def edit(
        self,
        user_id: str,
        conversation_id: str,
        turn_id: str,
        question: str,
        images: list[PreparedImage],
        settings: ChatSettings,
    ) -> Answering:
        """Asks the last question with other words, and with more images, in place of what it was. Raises Refused."""
        last = await self._last(user_id, conversation_id)
        if last is None or last[1].id != turn_id:
            raise Refused("edit_gone")
        conversation, turn = last
        together = (*turn.images, *(image.kept for image in images))
        if len(together) > self._max_images:
            raise Refused("many_images", count=len(together), limit=self._max_images)
        for image in images:
            self._shelf.put(image)
        again = replace(turn, question=question, images=together, answer="", state=TurnState.ANSWERING)
        return await self._start(user_id, conversation.with_turn(again), settings)

    async def retry(self, user_id: str, conversation_id: str, settings: ChatSettings) -> Answering:
        """Asks the last question again, in place of its answer. Raises Refused."""
        last = await self._last(user_id, conversation_id)
        if last is None:
            raise Refused("nothing_to_retry")
        conversation, turn = last
        again = replace(turn, answer="", state=TurnState.ANSWERING)
        return await self._start(user_id, conversation.with_turn(again), settings)

    async def _last(self, user_id: str, conversation_id: str) -> tuple[Conversation, Turn] | None:
        conversation = (await self._store.load(user_id)).history.conversation(conversation_id)
        return (conversation, conversation.turns[-1]) if conversation and conversation.turns else None

    async def _start(self, user_id: str, conversation: Conversation, settings: ChatSettings) -> Answering:
        """Stores the conversation's last turn as a question and starts its answer."""
        key = (user_id, conversation.id)
        if key in self._running:
            raise Refused("still_answering")
        of_user = sum(user == user_id for user, _ in self._running)
        if of_user >= ANSWERS_OF_ONE_USER:
            raise Refused("too_many_of_yours", count=of_user)
        if len(self._running) >= self._max_chats:
            raise Refused("too_many_answers")
        answering = Answering(conversation, settings)
        self._running[key] = answering  # before the first await, so that a second click finds it
        try:
            turn = conversation.turns[-1]
            loaded = await self._store.change(
                user_id, lambda history: replace(history, settings=settings).with_turn(conversation, turn)
            )
        except BaseException:
            del self._running[key]
            raise
        answering.history, answering.saved = loaded.history, loaded.saved
        answering.conversation = (loaded.history.conversation(conversation.id) or conversation).with_turn(turn)
        answering.task = asyncio.create_task(self._answer(user_id, answering, turn))
        return answering

    def stop(self, user_id: str, conversation_id: str) -> None:
        """Ends the answer being written; what is there stays."""
        running = self.running(user_id, conversation_id)
        if running is not None:
            running.stop()

    async def delete(self, user_id: str, conversation_id: str) -> None:
        """Forgets a conversation and ends its answer."""
        running = self.running(user_id, conversation_id)
        if running is not None and running.task is not None:
            running.stop()
            await asyncio.wait([running.task])
        await self._store.change(user_id, lambda history: history.without(conversation_id))

    async def rename(self, user_id: str, conversation_id: str, title: str) -> History:
        return (await self._store.change(user_id, lambda history: history.renamed(conversation_id, title))).history

    async def choose(self, user_id: str, settings: ChatSettings) -> History:
        """Keeps the settings of a user."""
        return (await self._store.change(user_id, lambda history: replace(history, settings=settings))).history

    async def stop_all(self, within: float) -> None:
        """Ends every answer being written and waits until what is there is saved."""
        for answering in self._running.values():
            answering.stop()
        tasks = [answering.task for answering in self._running.values() if answering.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within)

    async def _answer(self, user_id: str, answering: Answering, asked: Turn) -> None:
        with traces.span("answer"):
            await self._written(user_id, answering, asked)

    async def _written(self, user_id: str, answering: Answering, asked: Turn) -> None:
        state = TurnState.FAILED
        answering.writer = asyncio.create_task(self._write(answering))
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
            answering.error = error
            traces.failed_here(error.key)
            log.warning("answer failed", extra={"why": error.key})
        except (TimeoutError, aiohttp.ClientError) as error:
            answering.error = EngineError("engine_down")
            traces.failed_here("engine_down")
            log.warning("answer failed", extra={"why": type(error).__name__})
        except Exception as error:  # a fault here must end as a message on the page, not as an answer that never ends
            answering.error = Told("fault")
            traces.failed_here(type(error).__name__)
            log.error("answer failed", extra={"why": type(error).__name__}, exc_info=True)
        finally:
            turn = replace(asked, answer="".join(answering.pieces), state=state)
            known = answering.conversation
            loaded = await self._store.change(user_id, lambda history: history.with_turn(known, turn))
            answering.history, answering.saved = loaded.history, loaded.saved
            answering.conversation = loaded.history.conversation(known.id) or Conversation(new_id())
            self._running.pop((user_id, known.id), None)
            self._metrics.chats.labels(state.value).inc()
            self._metrics.chat_seconds.observe(time.monotonic() - answering.started, traces.example())

    async def _write(self, answering: Answering) -> None:
        model = await self._engine.model()
        chosen = answering.settings
        messages = messages_for(
            answering.conversation, self._shelf, model.context_tokens // 2, self._max_images, chosen.system_prompt
        )
        length = 0
        async with aclosing(self._engine.stream(model, messages, chosen)) as stream:
            async for piece in stream:
                if piece.text:
                    if not answering.pieces:
                        waited = time.monotonic() - answering.started
                        self._metrics.first_token_seconds.observe(waited, traces.example())
                    answering.pieces.append(piece.text)
                    length += len(piece.text)
                self._metrics.tokens.labels("prompt").inc(piece.prompt_tokens)
                self._metrics.tokens.labels("completion").inc(piece.completion_tokens)
                if length > ANSWER_LIMIT:
                    break
