"""What is drawn on a page whose reader went elsewhere, however slow the machine is: nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("gradio")

from chat_webui.chat_settings import ChatSettings
from chat_webui.conversation import Conversation, Turn
from chat_webui.conversations import Answering, Conversations, View
from chat_webui.history import History
from chat_webui.page import ChatPage
from chat_webui.page_watch import LEAVING_LIMIT, OpenPages
from chat_webui.readiness import Readiness
from chat_webui.settings import parse_settings

GONE = Conversation("gone", "", (Turn("t1", 1.0, "gone"),))
KEPT = Conversation("kept", "", (Turn("t0", 0.0, "kept"),))
SLOW = 0.1
"""Seconds the machine takes to send one update."""


class FakeConversations:
    """One answer in `GONE` that grows for ever; leaving ends nothing, deleting ends it as the real one does."""

    def __init__(self) -> None:
        self.answering = Answering(GONE, ChatSettings(), History((KEPT, GONE)))
        self._ended = asyncio.Event()

    async def ask(self, *_: object) -> Answering:
        async def write() -> None:
            while not self._ended.is_set():
                self.answering.pieces.append("word ")
                await asyncio.sleep(0.01)

        self.answering.task = asyncio.create_task(write())
        return self.answering

    async def retry(self, *_: object) -> Answering:
        return await self.ask()

    def running(self, _: str, conversation: str) -> Answering | None:
        return self.answering if conversation == "gone" else None

    async def delete(self, _: str, __: str) -> None:
        await self.end()

    async def newest(self, _: str) -> View:
        return View(History((KEPT,)), KEPT, saved=True)

    async def view(self, _: str, conversation: str) -> View:
        return View(History((KEPT, GONE)), Conversation(conversation or "new"), saved=True)

    async def end(self) -> None:
        self._ended.set()
        assert self.answering.task is not None
        await self.answering.task


REQUEST = cast(
    Any,
    SimpleNamespace(session_hash="page", request=SimpleNamespace(headers={}, scope={"user_id": "u"})),
)


def event(conversation: str) -> Any:
    return SimpleNamespace(id=conversation)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("draws", ["ask", "retry", "follow"])
@pytest.mark.parametrize("leaves", ["delete", "open", "new", "clear"])
def test_a_growing_answer_is_not_drawn_over_what_was_opened_next(draws: str, leaves: str) -> None:
    drawn: list[tuple[str, str]] = []

    async def run() -> None:
        fake = FakeConversations()
        settings = parse_settings([], {})
        ready = SimpleNamespace(engine=SimpleNamespace(up=True, seen_good=True))
        page = ChatPage(cast(Conversations, fake), settings, cast(Readiness, ready))
        page.blocks()
        at = page._at
        chosen = ("", 0.5, 0.5, 16)
        if draws == "ask":
            updates = page.on_ask(REQUEST, {"text": "gone", "files": []}, "gone", "", *chosen)
        elif draws == "retry":
            updates = page.on_retry(REQUEST, "gone", *chosen)
        else:
            await fake.ask()
            await page.on_open(event("gone"), REQUEST)
            updates = page.on_follow("gone", REQUEST)

        async def browser() -> None:
            last: Any = None
            async for update in updates:
                await asyncio.sleep(SLOW)
                last = update
                drawn.append(("answer", "chat" if at.chat in update else "nothing"))
            drawn.append(("answer repeated", "chat" if at.chat in last else "nothing"))

        showing = asyncio.create_task(browser())
        while len(drawn) < 2:
            await asyncio.sleep(0.01)
        if leaves == "delete":
            shown = await page.on_delete("gone", event("gone"), REQUEST)
        elif leaves == "open":
            shown = await page.on_open(event("kept"), REQUEST)
        elif leaves == "new":
            shown = await page.on_new(REQUEST)
        else:
            shown = await page.on_clear("gone", REQUEST)
        drawn.append((leaves, "chat" if at.chat in shown else "nothing"))
        await asyncio.wait_for(showing, 5)
        await fake.end()

    asyncio.run(run())
    assert ("answer", "chat") in drawn
    after = drawn[drawn.index((leaves, "chat")) + 1 :]
    assert [what for what in after if what[1] == "chat"] == []
    assert ("answer repeated", "nothing") in drawn


@pytest.mark.usefixtures("files")
def test_what_was_opened_is_not_followed_when_the_page_is_elsewhere_by_then() -> None:
    async def run() -> None:
        fake = FakeConversations()
        await fake.ask()
        ready = SimpleNamespace(engine=SimpleNamespace(up=True, seen_good=True))
        page = ChatPage(cast(Conversations, fake), parse_settings([], {}), cast(Readiness, ready))
        page.blocks()
        await page.on_open(event("gone"), REQUEST)
        await page.on_new(REQUEST)
        assert [page._at.chat in update async for update in page.on_follow("gone", REQUEST)] == [False]
        await fake.end()

    asyncio.run(run())


def test_leaving_waits_for_a_lost_page_no_longer_than_its_limit() -> None:
    async def run() -> float:
        pages = OpenPages()
        with pages.watching("page"):
            started = time.monotonic()
            await pages.leave("page")
            return time.monotonic() - started

    assert LEAVING_LIMIT * 0.9 < asyncio.run(run()) < LEAVING_LIMIT + 5


def test_only_the_pages_used_last_are_remembered() -> None:
    pages = OpenPages(most=2)
    for number in range(4):
        pages.show(str(number), "a")
    assert [pages.shows(str(number), "b") for number in (3, 2, 1)] == [False, False, True]
