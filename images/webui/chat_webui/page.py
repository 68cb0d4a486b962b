"""The chat page: a view of `Conversations`, with no state of its own but which answers it draws where.

Every event reads the user's id from the request and shows the history as the server has it. What the browser keeps is
which conversation a tab shows and what stands in the fields; nothing of that is taken for history, so any replica can
serve any event.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import gradio as gr

from chat_webui import traces
from chat_webui.chat_settings import ChatSettings
from chat_webui.conversations import Answering, Conversations, Refused
from chat_webui.images import ImageRefused, PreparedImage, prepare
from chat_webui.page_layout import Layout, lay_out
from chat_webui.page_view import PageView, Update, language_for, listing_of, page_of
from chat_webui.page_watch import OpenPages, Watch
from chat_webui.readiness import Readiness
from chat_webui.settings import Settings
from chat_webui.texts import Told

WAITING_PAGES = 1024
"""Events Gradio keeps in line before it tells the browser that it is full."""
LOOK_FOR_EVENTS = 0.01
"""Seconds between two looks of Gradio's queue for work. Its own 1 ms costs 3 % of a core for a page that nobody uses."""
UPLOAD_LIFE = (60, 600)
"""Every minute Gradio removes uploads older than ten; those that were asked about are removed at once."""
FRAME = re.compile(r"frame-(\d{1,8})ms")
"""Name of a file that `page_head.js` took out of a video."""


def following(request: gr.Request) -> AbstractContextManager[None]:
    """What is done inside is part of the trace of this request."""
    return traces.continued(request.request.scope)  # type: ignore[union-attr]


def user_of(request: gr.Request) -> str:
    """The id the identity middleware found or gave out for this request."""
    user_id: str = request.request.scope["user_id"]  # type: ignore[union-attr]
    return user_id


class ChatPage:
    def __init__(self, conversations: Conversations, settings: Settings, readiness: Readiness) -> None:
        self._conversations = conversations
        self._settings = settings
        self._readiness = readiness
        self._pages = OpenPages()
        self._thumbnails = Path(os.environ["GRADIO_TEMP_DIR"]) / "thumbnails"
        self._readers = asyncio.Semaphore(2)  # images decoded at the same time: each takes up to 250 MB for a moment
        self._at: Layout
        self._view: PageView

    def blocks(self) -> gr.Blocks:
        """The page. Every event names its own concurrency limit; Gradio's default would be one."""
        page: gr.Blocks
        with gr.Blocks(title="Qwen3-VL", analytics_enabled=False, delete_cache=UPLOAD_LIFE, fill_height=True) as page:
            self._at = at = lay_out(self._settings)
            self._view = PageView(at, self._pages, self._readiness, self._thumbnails, self._settings.max_new_tokens)
            private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
            free = {"concurrency_limit": None, **private}
            chats = {"concurrency_limit": self._settings.max_chats, "concurrency_id": "answers", **private}
            # Or the browser drops a question that is asked while the answer just left comes to its end.
            chats["trigger_mode"] = "multiple"
            chosen = [at.system_prompt, at.temperature, at.top_p, at.max_tokens]
            shown: list[Any] = [
                at.chat,
                at.box,
                at.retry,
                at.edit,
                at.clear,
                at.status,
                at.look,
                at.unfinished,
                at.listing,
                at.conversation,
                at.editing,
            ]
            shown.extend([at.banner, *chosen])
            loaded = page.load(self.on_load, None, shown, **free)
            at.box.submit(self.on_ask, [at.box, at.conversation, at.editing, *chosen], shown, **chats)
            at.retry.click(self.on_retry, [at.conversation, *chosen], shown, **chats)
            opened = at.listing.select(self.on_open, None, shown, **free)
            deleted = at.listing.delete(self.on_delete, [at.conversation], shown, **free)
            for event in (loaded, opened, deleted):
                event.then(self.on_follow, [at.conversation], shown, **free)
            at.new.click(self.on_new, None, shown, **free)
            at.new.click(None, js="() => chatPage.closeSidebarOnPhone()", **private)
            at.clear.click(self.on_clear, [at.conversation], shown, **free)
            at.box.stop(self.on_stop, [at.conversation], None, queue=False, **free)
            at.listing.edit(self.on_rename, None, [at.listing], **free)
            at.edit.click(self.on_edit, [at.conversation], shown, **free)
            at.cancel.click(self.on_cancel, None, shown, **free)
            moved = [at.system_prompt.blur, at.temperature.release, at.top_p.release, at.max_tokens.release]
            gr.on(moved, self.on_choose, chosen, None, **free)
            at.defaults.click(self.on_defaults, None, chosen, **free)
            at.look.tick(self.on_look, [at.conversation], [at.status, at.look], **free)
            at.unfinished.tick(self.on_unfinished, [at.conversation], shown, **free)
        page.queue(default_concurrency_limit=self._settings.max_chats, max_size=WAITING_PAGES, api_open=False)
        page._queue.sleep_when_free = LOOK_FOR_EVENTS
        page._queue.progress_update_sleep_when_free = 0.1  # the page has no progress bars
        return page

    async def on_load(self, request: gr.Request) -> Update:
        view = await self._conversations.newest(user_of(request))
        return {**self._view.fields(view.history.settings), **self._view.shown(view, request)}

    async def on_open(self, event: gr.EventData, request: gr.Request) -> Update:
        await self._pages.leave(page_of(request))
        return self._view.shown(await self._conversations.view(user_of(request), str(event.id)), request)

    async def on_follow(self, conversation: str, request: gr.Request) -> AsyncIterator[Update]:
        """What was opened, while its answer grows."""
        if not self._pages.shows(page_of(request), conversation):
            yield {self._at.look: gr.skip()}
            return
        with self._pages.watching(page_of(request)) as watch:
            running = self._conversations.running(user_of(request), conversation)
            if running is None:
                view = await self._conversations.view(user_of(request), conversation)
                ended_meanwhile = view.conversation.id == conversation and not watch.left.is_set()
                yield self._view.answer(view, request) if ended_meanwhile else {self._at.look: gr.skip()}
                return
            async for update in self._grow(running, request, watch, opened=True):
                yield update

    async def on_new(self, request: gr.Request) -> Update:
        await self._pages.leave(page_of(request))
        return self._view.shown(await self._conversations.view(user_of(request), ""), request)

    async def on_ask(
        self, request: gr.Request, typed: dict[str, Any], conversation: str, editing: str, *chosen: Any
    ) -> AsyncIterator[Update]:
        user_id = user_of(request)
        question = str(typed.get("text") or "").strip()
        files = [Path(str(path)) for path in typed.get("files") or []]
        settings = self._chosen(*chosen)
        with self._pages.watching(page_of(request)) as watch:
            try:
                self._check(question, files, editing)
                images = [await self._prepared(path) for path in files]
                with following(request):
                    if editing:
                        running = await self._conversations.edit(
                            user_id, conversation, editing, question, images, settings
                        )
                    else:
                        running = await self._conversations.ask(user_id, conversation, question, images, settings)
            except (Refused, ImageRefused) as refused:
                _tell(refused, request)
                yield {self._at.look: gr.skip()}
                return
            for path in files:
                path.unlink(missing_ok=True)
            async for update in self._grow(running, request, watch, clear_box=True):
                yield update

    async def on_retry(self, request: gr.Request, conversation: str, *chosen: Any) -> AsyncIterator[Update]:
        with self._pages.watching(page_of(request)) as watch:
            try:
                with following(request):
                    running = await self._conversations.retry(user_of(request), conversation, self._chosen(*chosen))
            except Refused as refused:
                _tell(refused, request)
                yield self._view.shown(await self._conversations.view(user_of(request), conversation), request)
                return
            async for update in self._grow(running, request, watch):
                yield update

    def on_stop(self, conversation: str, request: gr.Request) -> None:
        self._conversations.stop(user_of(request), conversation)

    async def on_rename(self, event: gr.EventData, request: gr.Request) -> Update:
        history = await self._conversations.rename(user_of(request), str(event.id), str(event.title))
        return {self._at.listing: gr.HTML(value=listing_of(history, str(event.current)))}

    async def on_delete(self, conversation: str, event: gr.EventData, request: gr.Request) -> Update:
        gone = str(event.id)
        await self._pages.leave(page_of(request))
        await self._conversations.delete(user_of(request), gone)
        if gone != conversation:
            return self._view.shown(await self._conversations.view(user_of(request), conversation), request)
        return self._view.shown(await self._conversations.newest(user_of(request)), request)

    async def on_clear(self, conversation: str, request: gr.Request) -> Update:
        await self._pages.leave(page_of(request))
        await self._conversations.delete(user_of(request), conversation)
        return self._view.shown(await self._conversations.view(user_of(request), ""), request)

    async def on_edit(self, conversation: str, request: gr.Request) -> Update:
        """The last question goes back into the box; sending it then replaces it."""
        view = await self._conversations.view(user_of(request), conversation)
        if not view.conversation.turns or view.answering:
            return self._view.shown(view, request)
        last = view.conversation.turns[-1]
        box = gr.MultimodalTextbox(value={"text": last.question, "files": []})
        return {self._at.box: box, self._at.editing: last.id, self._at.banner: gr.Row(visible=True)}

    def on_cancel(self) -> Update:
        box = gr.MultimodalTextbox(value=None)
        return {self._at.box: box, self._at.editing: "", self._at.banner: gr.Row(visible=False)}

    async def on_choose(self, request: gr.Request, *chosen: Any) -> None:
        await self._conversations.choose(user_of(request), self._chosen(*chosen))

    async def on_defaults(self, request: gr.Request) -> Update:
        history = await self._conversations.choose(user_of(request), ChatSettings())
        return self._view.fields(history.settings)

    async def on_look(self, conversation: str, request: gr.Request) -> Update:
        view = await self._conversations.view(user_of(request), conversation)
        return self._view.state(view, language_for(request))

    async def on_unfinished(self, conversation: str, request: gr.Request) -> Update:
        """The end of an answer for a page whose own events were lost."""
        view = await self._conversations.view(user_of(request), conversation)
        if view.answering or not self._pages.shows(page_of(request), conversation):
            return {self._at.unfinished: gr.skip()}
        return self._view.answer(view, request)

    def _check(self, question: str, files: list[Path], editing: str) -> None:
        if not question and not files and not editing:
            raise Refused("empty_question")
        if len(question) > self._settings.max_question_chars:
            raise Refused("long_question", limit=self._settings.max_question_chars)
        if len(files) > self._settings.max_images:
            raise Refused("many_images", count=len(files), limit=self._settings.max_images)

    async def _prepared(self, path: Path) -> PreparedImage:
        frame = FRAME.match(path.name)
        second = int(frame[1]) / 1000 if frame else None
        async with self._readers:
            return await asyncio.to_thread(lambda: prepare(path.read_bytes(), self._settings.max_pixels, second))

    def _chosen(self, system_prompt: Any, temperature: Any, top_p: Any, max_tokens: Any) -> ChatSettings:
        given = {"system_prompt": system_prompt, "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        return ChatSettings.within_bounds(given, self._settings.max_new_tokens)

    async def _grow(
        self, running: Answering, request: gr.Request, watch: Watch, clear_box: bool = False, opened: bool = False
    ) -> AsyncIterator[Update]:
        """An answer while it grows and is looked at. What is around it comes with its end, and its start unless just `opened`."""
        first = not opened
        async for view in running.views(watch.left):
            if watch.left.is_set():
                break
            if first or not view.answering:
                yield self._view.shown(view, request, clear_box=clear_box and first)
            else:
                yield self._view.chat(view, request)
            first = False
        # Gradio repeats the last values when this ends: they must not be those of what was just left.
        yield {self._at.look: gr.skip()}


def _tell(refused: Told, request: gr.Request) -> None:
    """Pops up why something was not done."""
    gr.Warning(html.escape(refused.text(language_for(request))))
