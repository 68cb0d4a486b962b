"""The HTML around Gradio's page: its own template, with `page_head.js` as the first script and without its link previews."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import gradio.routes
from jinja2 import BaseLoader, Environment

from chat_webui.settings import Settings
from chat_webui.texts import LANGUAGE_COOKIE, LANGUAGE_NAMES

TEMPLATE = "frontend/index.html"
HEAD = "<head>"
STYLE = "<style>body { background: var(--body-background-fill) !important; }</style>"
"""The template's own rule follows the system even where the switch says otherwise."""
LINK_PREVIEW = re.compile(r'<meta\s+(property|name)="(og|twitter):[^>]*>')


class _Shell(BaseLoader):
    def __init__(self, gradios: BaseLoader, script: str) -> None:
        self._gradios = gradios
        self._script = script

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, path, is_current = self._gradios.get_source(environment, template)
        if template == TEMPLATE:
            head = f"{HEAD}{{% raw %}}{STYLE}<script>{self._script}</script>{{% endraw %}}"
            source = LINK_PREVIEW.sub("", source).replace(HEAD, head, 1)
        return source, path, is_current


def install_page_shell(settings: Settings) -> None:
    """Call this before the page is served. Gradio puts its `head=` into the page too late for the language to count."""
    given = {
        "languages": LANGUAGE_NAMES,
        "cookie": LANGUAGE_COOKIE,
        "frames": settings.max_images,
        "pixels": settings.max_pixels,
    }
    script = Path(__file__).with_name("page_head.js").read_text(encoding="utf-8")
    templates = gradio.routes.templates.env
    if templates.loader is not None:  # Jinja's type allows for none
        templates.loader = _Shell(templates.loader, script.replace("__GIVEN__", json.dumps(given)))
