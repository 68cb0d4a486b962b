"""What a view of a conversation looks like on the page: new values of the components; notes which one each page shows."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr

from chat_webui.chat_settings import ChatSettings
from chat_webui.conversation import TITLE_LENGTH
from chat_webui.conversations import View
from chat_webui.history import History
from chat_webui.page_layout import Layout
from chat_webui.page_messages import messages_of
from chat_webui.page_watch import OpenPages
from chat_webui.readiness import Readiness
from chat_webui.texts import language_of, say

Update = dict[Any, Any]
"""New values by component; what is not named stays as it is."""


def page_of(request: gr.Request) -> str:
    """The id Gradio gives to one page in one tab."""
    return str(request.session_hash)


def language_for(request: gr.Request) -> str:
    headers = request.request.headers  # type: ignore[union-attr]
    return language_of(headers.get("cookie", ""), headers.get("accept-language", ""))


class PageView:
    """Built once per process, for all pages: everything about one page comes with its request."""

    def __init__(self, at: Layout, pages: OpenPages, readiness: Readiness, thumbnails: Path, most_tokens: int) -> None:
        self._at = at
        self._pages = pages
        self._readiness = readiness
        self._thumbnails = thumbnails
        self._most_tokens = most_tokens

    def shown(self, view: View, request: gr.Request, clear_box: bool = False) -> Update:
        """Everything but the settings."""
        self._pages.show(page_of(request), view.conversation.id)
        return {
            **self.answer(view, request, clear_box),
            self._at.listing: gr.HTML(value=listing_of(view.history, view.conversation.id)),
            self._at.conversation: view.conversation.id,
            self._at.editing: "",
            self._at.banner: gr.Row(visible=False),
        }

    def chat(self, view: View, request: gr.Request) -> Update:
        """The turns alone."""
        return {self._at.chat: messages_of(view, self._thumbnails, language_for(request))}

    def answer(self, view: View, request: gr.Request, clear_box: bool = False) -> Update:
        """The turns and what can be done with them."""
        language = language_for(request)
        box: dict[str, Any] = {"submit_btn": not view.answering, "stop_btn": view.answering}
        if clear_box:
            box["value"] = None
        again = bool(view.conversation.turns) and not view.answering
        return {
            **self.chat(view, request),
            self._at.box: gr.MultimodalTextbox(**box),
            self._at.retry: gr.Button(interactive=again),
            self._at.edit: gr.Button(interactive=again),
            self._at.clear: gr.Button(interactive=bool(view.conversation.turns)),
            self._at.unfinished: gr.Timer(active=view.answering),
            **self.state(view, language),
        }

    def state(self, view: View, language: str) -> Update:
        """What is wrong right now. While it may mend itself, the page looks again every few seconds."""
        wrong: list[str] = []
        error = view.error.key if view.error else ""
        if not self._readiness.engine.up or error == "engine_down":
            wrong.append("engine_down" if self._readiness.engine.seen_good else "engine_loading")
            error = "" if error == "engine_down" else error
        if not view.saved:
            wrong.append("not_saved")
        notes = [say(language, key) for key in wrong]
        if view.error is not None and error:
            notes.insert(0, html.escape(view.error.text(language)))
        status = "\n\n".join(f"⚠ {note}" for note in notes)
        return {self._at.status: status, self._at.look: gr.Timer(active=bool(wrong) and not error)}

    def fields(self, settings: ChatSettings) -> Update:
        most = self._most_tokens
        return {
            self._at.system_prompt: settings.system_prompt,
            self._at.temperature: settings.temperature,
            self._at.top_p: settings.top_p,
            self._at.max_tokens: min(settings.max_tokens, most) or most,
        }


def listing_of(history: History, current: str) -> dict[str, Any]:
    """For `conversation_list.js`: the newest first."""
    items = [{"id": one.id, "name": one.name} for one in reversed(history.conversations)]
    return {"items": items, "current": current, "longest": TITLE_LENGTH}
