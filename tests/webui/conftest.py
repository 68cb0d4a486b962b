"""The web UI and the stand-in are programs of their own images; their tests import them from where they lie. For what needs
a browser: one Chromium, one engine, one Redis and two replicas for all of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.chat_processes import Engine, Redis, WebUi
from tests.support.edge import guarded_webui, session_of
from tests.support.traefik import Traefik, product_routes

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

    from tests.support.chat_page import ChatPage

ROOT = Path(__file__).resolve().parents[2]
for folder in ("images/webui", "lab/engine"):
    sys.path.insert(0, str(ROOT / folder))


@pytest.fixture(
    scope="module"
)  # no longer: Playwright's event loop would be in the way of tests that run one of their own
def chromium() -> Iterator[Browser]:
    from tests.support.chat_page import browser  # needs playwright, which not every tier has

    with browser() as started:
        yield started


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def shared_engine() -> Iterator[Engine]:
    with Engine(
        time_scale=4, flags=("--limit-mm-per-prompt", '{"image": 4}')
    ) as process:  # slow enough to watch: about 30 tokens a second
        yield process


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    yield shared_engine
    shared_engine.faults()


@pytest.fixture(scope="session")
def replicas(shared_engine: Engine, redis: Redis) -> Iterator[tuple[WebUi, WebUi]]:
    with WebUi(shared_engine, redis.port) as one, WebUi(shared_engine, redis.port) as two:
        one.wait_ready()
        two.wait_ready()
        yield one, two


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    fresh = chromium.new_context()
    yield fresh
    fresh.close()


@pytest.fixture
def page(context: BrowserContext, replicas: tuple[WebUi, WebUi]) -> Iterator[ChatPage]:
    """A new user at the first replica. No test may make the page fail or talk to another host."""
    from tests.support.chat_page import ChatPage

    opened = ChatPage(context, replicas[0].url)
    opened.open()
    yield opened
    assert opened.foreign == []
    assert opened.errors == []


@pytest.fixture(scope="module")
def edge_engine() -> Iterator[Engine]:
    with Engine(time_scale=0, flags=("--limit-mm-per-prompt", '{"image": 4}')) as process:
        yield process


@pytest.fixture(scope="module")
def edge_webui(edge_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    with guarded_webui(edge_engine, tmp_path_factory.mktemp("edge")) as process:
        yield process


@pytest.fixture(scope="module")
def edge(edge_webui: WebUi) -> Iterator[Traefik]:
    """The gateway with the program's flags and routes, before a web UI with a login and keys."""
    with Traefik(product_routes(edge_webui.url)) as process:
        yield process


@pytest.fixture(scope="module")
def session(edge: Traefik) -> bytes:
    return session_of(edge)
