"""Everything the page says, in each language (`texts.json`), and which language a browser gets.

The browser translates what stands on the page from the start (Gradio sends it the tables); what the server says later is
put into words here. Both choose the language by the same rule: the cookie that the switch sets, else the first
language of the browser that there is a table for, else English.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

LANGUAGE_COOKIE = "qwen3vl_language"
DEFAULT = "en"

TEXTS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("texts.json").read_text(encoding="utf-8"))
LANGUAGE_NAMES = {"en": "English", "zh-CN": "中文"}


class Told(Exception):
    """A failure the user is told of, as a key of the tables with its values."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values

    def text(self, language: str) -> str:
        return say(language, self.key, self.values)


def say(language: str, key: str, values: Mapping[str, object] | None = None) -> str:
    return TEXTS[language][key].format_map(values or {})


def language_of(cookie_header: str, accept_language: str) -> str:
    """One of the tables' names, from a request's Cookie and Accept-Language headers."""
    try:
        cookie = SimpleCookie(cookie_header).get(LANGUAGE_COOKIE)
    except CookieError:
        cookie = None
    if cookie is not None and cookie.value in TEXTS:
        return cookie.value
    for wanted in accept_language.lower().split(","):  # browsers send it ordered
        for language in TEXTS:
            if wanted.strip().split(";")[0].split("-")[0] == language.split("-")[0]:
                return language
    return DEFAULT
