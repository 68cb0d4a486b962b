"""What is on the page and where. Texts are placeholders that the browser fills in its language (`texts.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from chat_webui.chat_settings import MAX_TOKENS_FROM, SYSTEM_PROMPT_LENGTH, TEMPERATURE, TOP_P, ChatSettings
from chat_webui.settings import Settings
from chat_webui.texts import TEXTS

HERE = Path(__file__).parent
IMAGE_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"]
VIDEO_TYPES = [".mp4", ".webm", ".mov"]
"""Read by the browser: only pictures out of it are sent (`page_head.js`)."""
LOOK_EVERY = 3.0
"""Seconds between two looks whether what is wrong is over."""
LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]
"""Not the single dollar: prices are more common in answers than formulas written with it."""

page_text = gr.I18n(**TEXTS)


@dataclass(frozen=True)
class Layout:
    """The components that events read or change."""

    new: gr.Button
    listing: gr.HTML
    system_prompt: gr.Textbox
    temperature: gr.Slider
    top_p: gr.Slider
    max_tokens: gr.Slider
    defaults: gr.Button
    chat: gr.Chatbot
    status: gr.Markdown
    banner: gr.Row
    cancel: gr.Button
    box: gr.MultimodalTextbox
    retry: gr.Button
    edit: gr.Button
    clear: gr.Button
    conversation: gr.Textbox
    editing: gr.Textbox
    look: gr.Timer
    unfinished: gr.Timer  # ticks while an answer is shown as growing


def lay_out(settings: Settings) -> Layout:
    """Call this inside `gr.Blocks`."""
    side = _sidebar(settings)
    gr.Markdown("## Qwen3-VL", elem_id="title")
    chat = gr.Chatbot(
        elem_id="chat",
        show_label=False,
        container=False,
        scale=1,
        placeholder=page_text("greeting"),  # type: ignore[arg-type]
        buttons=["copy"],
        feedback_options=None,
        sanitize_html=True,
        allow_tags=False,
        latex_delimiters=LATEX,
        layout="bubble",
    )
    status = gr.Markdown("", elem_id="status")
    with gr.Row(elem_id="editing", visible=False) as banner:
        gr.Markdown(page_text("editing"))
        cancel = gr.Button(page_text("cancel"), elem_id="cancel", size="sm", scale=0)
    box = gr.MultimodalTextbox(
        elem_id="box",
        label=page_text("box_hint"),
        show_label=False,
        placeholder=page_text("box_hint"),  # type: ignore[arg-type]
        sources=["upload"],
        file_types=[*IMAGE_TYPES, *VIDEO_TYPES],
        file_count="multiple",
        max_plain_text_length=settings.max_question_chars,
        autofocus=True,
    )
    with gr.Row(elem_id="buttons"):
        small: dict[str, Any] = {"size": "sm", "scale": 0, "variant": "secondary"}
        retry = gr.Button(page_text("retry"), elem_id="retry", interactive=False, **small)
        edit = gr.Button(page_text("edit"), elem_id="edit", interactive=False, **small)
        clear = gr.Button(page_text("clear"), elem_id="clear", interactive=False, **small)
    conversation = gr.Textbox("", visible="hidden", elem_id="conversation")
    editing = gr.Textbox("", visible="hidden", elem_id="editing-turn")
    look = gr.Timer(LOOK_EVERY, active=False)
    unfinished = gr.Timer(LOOK_EVERY, active=False)
    return Layout(
        **side,
        chat=chat,
        status=status,
        banner=banner,
        cancel=cancel,
        box=box,
        retry=retry,
        edit=edit,
        clear=clear,
        conversation=conversation,
        editing=editing,
        look=look,
        unfinished=unfinished,
    )


def _sidebar(settings: Settings) -> dict[str, Any]:
    with gr.Sidebar(elem_id="sidebar", width=288):
        new = gr.Button(page_text("new_chat"), elem_id="new", variant="primary")
        listing = gr.HTML(
            {"items": [], "current": ""},
            elem_id="conversations",
            html_template="<nav></nav>",
            js_on_load=HERE.joinpath("conversation_list.js").read_text(encoding="utf-8"),
        )
        with gr.Accordion(page_text("settings"), open=False, elem_id="settings"):
            system_prompt = gr.Textbox(
                label=page_text("system_prompt"),
                info=page_text("system_prompt_info"),
                placeholder=page_text("system_prompt_hint"),
                elem_id="system-prompt",
                lines=3,
                max_lines=8,
                max_length=SYSTEM_PROMPT_LENGTH,
            )
            slider: dict[str, Any] = {"buttons": []}
            temperature = gr.Slider(
                *TEMPERATURE,
                ChatSettings.temperature,
                step=0.05,
                label=page_text("temperature"),
                info=page_text("temperature_info"),
                elem_id="temperature",
                **slider,
            )
            top_p = gr.Slider(
                *TOP_P,
                ChatSettings.top_p,
                step=0.05,
                label=page_text("top_p"),
                info=page_text("top_p_info"),
                elem_id="top-p",
                **slider,
            )
            max_tokens = gr.Slider(
                min(MAX_TOKENS_FROM, settings.max_new_tokens),
                settings.max_new_tokens,
                settings.max_new_tokens,
                step=1,
                label=page_text("max_tokens"),
                elem_id="max-tokens",
                **slider,
            )
            defaults = gr.Button(page_text("defaults"), elem_id="defaults", size="sm")
        gr.HTML(
            elem_id="looks",
            html_template="<div class='looks'></div>",
            js_on_load=HERE.joinpath("looks.js").read_text(encoding="utf-8"),
        )
    return {
        "new": new,
        "listing": listing,
        "system_prompt": system_prompt,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "defaults": defaults,
    }
