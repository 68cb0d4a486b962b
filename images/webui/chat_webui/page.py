"""The chat page: a view of `Conversations`, with no state of its own.

Every event reads the user's id from the request and shows the conversation as the server has it. Nothing the browser
sends is taken for history, so any replica can serve any event.
"""

from __future__ import annotations

import asyncio
import base64
import html
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from chat_webui.conversations import Conversations, Refused, View
from chat_webui.history import KeptImage, Turn, TurnState
from chat_webui.images import ImageRefused, PreparedImage, prepare
from chat_webui.settings import Settings

WAITING_PAGES = 1024
"""Events Gradio keeps in line before it tells the browser that it is full."""
LOOK_FOR_EVENTS = 0.01
"""Seconds between two looks of Gradio's queue for work. Its own 1 ms costs 3 % of a core for a page that nobody uses."""
UPLOAD_LIFE = (60, 600)
"""Every minute Gradio removes uploads older than ten; those that were asked about are removed at once."""
FILE_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"]
STATE_NOTES = {
    TurnState.STOPPED: "*stopped*",
    TurnState.FAILED: "*no answer; press Retry*",
    TurnState.ANSWERING: "*the answer was interrupted; press Retry*",
}
NOT_SAVED = "⚠ History is not saved right now: it stays on this page's server only."
TITLE = "## Qwen3-VL"
EMPTY = "Ask a question, with images if you like: paste, drop or choose them."

Update = tuple[list[dict[str, Any]], Any, Any, str]
"""New values of messages, text box, buttons row's Retry, and status line."""


def user_of(request: gr.Request) -> str:
    """The id the cookie middleware found or gave out for this request."""
    user_id: str = request.request.scope["user_id"]  # type: ignore[union-attr]
    return user_id


def messages_of(view: View, thumbnails: Path) -> list[dict[str, Any]]:
    """The conversation in the form of Gradio's chat component; thumbnails are written as files, which it serves."""
    messages: list[dict[str, Any]] = []
    for turn in view.history.turns:
        live = view.answering and turn is view.history.turns[-1]
        note = "" if live else STATE_NOTES.get(turn.state, "")
        text = turn.answer or ("…" if live else "")
        answer = "\n\n".join(part for part in (text, note) if part)
        messages += [{"role": "user", "content": _question(turn, thumbnails)}, {"role": "assistant", "content": answer}]
    return messages


SIGNS = re.compile(r"[&<>`*_\[\]~$|\\]|(?<=^)[#+=-]|(?<=\n)[#+=-]|(?<=[0-9])[.)](?= )")
"""What means something in Markdown or HTML; not more, as the entities are also read to users of a screen reader."""


def as_plain_text(typed: str) -> str:
    """Markdown that shows exactly what was typed."""
    signs = SIGNS.sub(lambda sign: f"&#{ord(sign[0])};", typed)
    return re.sub(r"^ +", lambda blanks: "&#160;" * len(blanks[0]), signs, flags=re.MULTILINE)


def _question(turn: Turn, thumbnails: Path) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for image in turn.images:
        said = f"image, {image.width} x {image.height} pixels"
        if image.thumbnail:
            file = {"path": _file_of(image, thumbnails), "mime_type": "image/jpeg"}
            parts.append({"type": "file", "file": file, "alt_text": said})
        else:
            parts.append({"type": "text", "text": f"*{said}; no longer kept*"})
    if turn.question:
        parts.append({"type": "text", "text": as_plain_text(turn.question)})
    return parts


def _file_of(image: KeptImage, thumbnails: Path) -> str:
    """The thumbnail as a file named by the image's digest, so that only who has the image can guess the name."""
    path = thumbnails / f"{image.digest}.jpg"
    if not path.exists():
        thumbnails.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{secrets.token_hex(4)}")
        partial.write_bytes(base64.b64decode(image.thumbnail.partition(",")[2]))
        partial.rename(path)
    return str(path)


class ChatPage:
    def __init__(self, conversations: Conversations, settings: Settings) -> None:
        self._conversations = conversations
        self._settings = settings
        self._thumbnails = Path(os.environ["GRADIO_TEMP_DIR"]) / "thumbnails"
        self._readers = asyncio.Semaphore(2)  # images decoded at the same time: each takes up to 250 MB for a moment

    def blocks(self) -> gr.Blocks:
        """The page. Every event names its own concurrency limit; Gradio's default would be one."""
        page: gr.Blocks
        with gr.Blocks(title="Qwen3-VL", analytics_enabled=False, delete_cache=UPLOAD_LIFE, fill_height=True) as page:
            gr.Markdown(TITLE, elem_id="title")
            chat = gr.Chatbot(
                elem_id="chat",
                show_label=False,
                container=False,
                scale=1,
                placeholder=EMPTY,
                buttons=["copy"],
                feedback_options=None,
                sanitize_html=True,
                allow_tags=False,
                layout="bubble",
            )
            status = gr.Markdown("", elem_id="status")
            box = gr.MultimodalTextbox(
                elem_id="box",
                show_label=False,
                placeholder="Ask about an image, or anything",
                sources=["upload"],
                file_types=FILE_TYPES,
                file_count="multiple",
                max_plain_text_length=self._settings.max_question_chars,
                autofocus=True,
            )
            with gr.Row(elem_id="buttons"):
                retry = gr.Button("Retry", elem_id="retry", size="sm", scale=0, interactive=False)
                clear = gr.Button("Clear", elem_id="clear", size="sm", scale=0)
            outputs = [chat, box, retry, status]
            private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
            chats = {"concurrency_limit": self._settings.max_chats, "concurrency_id": "answers", **private}
            page.load(self.on_load, None, outputs, concurrency_limit=None, **private)
            box.submit(self.on_ask, [box], outputs, **chats)
            retry.click(self.on_retry, None, outputs, **chats)
            box.stop(self.on_stop, None, None, concurrency_limit=None, queue=False, **private)
            gr.on([clear.click, chat.clear], self.on_clear, None, outputs, concurrency_limit=None, **private)
        page.queue(default_concurrency_limit=self._settings.max_chats, max_size=WAITING_PAGES, api_open=False)
        page._queue.sleep_when_free = LOOK_FOR_EVENTS
        page._queue.progress_update_sleep_when_free = 0.1  # the page has no progress bars
        return page

    async def on_load(self, request: gr.Request) -> AsyncIterator[Update]:
        user_id = user_of(request)
        running = self._conversations.running(user_id)
        if running is None:
            yield self._update(await self._conversations.view(user_id))
            return
        async for view in running.views():
            yield self._update(view)

    async def on_ask(self, typed: dict[str, Any], request: gr.Request) -> AsyncIterator[Update]:
        user_id = user_of(request)
        question = str(typed.get("text") or "").strip()
        files = [Path(str(path)) for path in typed.get("files") or []]
        try:
            self._check(question, files)
            images = [await self._prepared(path) for path in files]
            running = await self._conversations.ask(user_id, question, images)
        except (Refused, ImageRefused) as refused:
            gr.Warning(html.escape(str(refused)))
            yield self._update(await self._conversations.view(user_id), keep_box=True)
            return
        for path in files:
            path.unlink(missing_ok=True)
        async for view in running.views():
            yield self._update(view)

    async def on_retry(self, request: gr.Request) -> AsyncIterator[Update]:
        user_id = user_of(request)
        try:
            running = await self._conversations.retry(user_id)
        except Refused as refused:
            gr.Warning(html.escape(str(refused)))
            yield self._update(await self._conversations.view(user_id), keep_box=True)
            return
        async for view in running.views():
            yield self._update(view, keep_box=True)

    def on_stop(self, request: gr.Request) -> None:
        self._conversations.stop(user_of(request))

    async def on_clear(self, request: gr.Request) -> Update:
        return self._update(await self._conversations.clear(user_of(request)))

    def _check(self, question: str, files: list[Path]) -> None:
        if not question and not files:
            raise Refused("type a question or add an image")
        if len(question) > self._settings.max_question_chars:
            raise Refused(f"the question is longer than {self._settings.max_question_chars} characters")
        if len(files) > self._settings.max_images:
            raise Refused(f"{len(files)} images; one message takes at most {self._settings.max_images}")

    async def _prepared(self, path: Path) -> PreparedImage:
        async with self._readers:
            return await asyncio.to_thread(lambda: prepare(path.read_bytes(), self._settings.max_pixels))

    def _update(self, view: View, keep_box: bool = False) -> Update:
        box: dict[str, Any] = {"submit_btn": not view.answering, "stop_btn": view.answering}
        if not keep_box and view.answering and not view.history.turns[-1].answer:
            box["value"] = None
        notes = [f"⚠ {html.escape(view.error)}." if view.error else "", "" if view.saved else NOT_SAVED]
        retry = gr.Button(interactive=bool(view.history.turns) and not view.answering)
        messages = messages_of(view, self._thumbnails)
        return messages, gr.MultimodalTextbox(**box), retry, " ".join(note for note in notes if note)
