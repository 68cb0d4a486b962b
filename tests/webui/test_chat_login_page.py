"""Logging in as somebody does it, in a real headless Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("gradio")

from chat_webui.passwords import hash_password
from playwright.sync_api import Browser

from tests.support.chat_page import CHROMIUM, ChatPage, browser
from tests.support.chat_processes import Engine, Redis, WebUi

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() or shutil.which("redis-server") is None, reason="needs chromium and redis-server"
    ),
]

PASSWORDS = {"alice": "correct horse battery", "bob": "another staple"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    users = tmp_path_factory.mktemp("users") / "users.json"
    users.write_text(json.dumps({name: hash_password(password) for name, password in PASSWORDS.items()}))
    flags = ("--login", "password", "--users-file", str(users))
    with Redis() as redis, Engine(time_scale=0) as engine, WebUi(engine, redis.port, flags=flags) as process:
        process.wait_ready()
        yield process


def log_in(page: ChatPage, url: str, name: str, password: str) -> None:
    page.tab.goto(f"{url}/", timeout=60_000)
    page.tab.wait_for_url("**/login")
    page.tab.fill("input[name=name]", name)
    page.tab.fill("input[name=password]", password)
    page.tab.click("button")


def test_in_a_chat_of_ones_own_and_out(chromium: Browser, webui: WebUi) -> None:
    alice = ChatPage(chromium.new_context(), webui.url)
    log_in(alice, webui.url, "alice", "wrong password")
    assert alice.tab.wait_for_selector("[role=alert]").inner_text() == "User name or password is wrong."  # type: ignore[union-attr]
    log_in(alice, webui.url, "alice", PASSWORDS["alice"])
    alice.tab.wait_for_selector("#box textarea", timeout=60_000)
    assert alice.tab.wait_for_selector("#account span").inner_text() == "alice"  # type: ignore[union-attr]
    alice.ask("the launch code is 0000")
    assert "launch code" in alice.answer(within=60)

    bob = ChatPage(chromium.new_context(), webui.url)
    log_in(bob, webui.url, "bob", PASSWORDS["bob"])
    bob.tab.wait_for_selector("#box textarea", timeout=60_000)
    bob.ask("hello")
    bob.answer(within=60)
    assert not any("launch code" in text for text in bob.questions() + bob.answers())

    elsewhere = ChatPage(chromium.new_context(), webui.url)
    log_in(elsewhere, webui.url, "alice", PASSWORDS["alice"])
    elsewhere.tab.wait_for_selector("#box textarea", timeout=60_000)
    elsewhere.tab.wait_for_selector("#chat [data-testid=user]", timeout=60_000)
    assert any("launch code" in text for text in elsewhere.questions()), "the history follows the user"

    alice.tab.click("#logout")
    alice.tab.wait_for_url("**/login")
    alice.tab.goto(f"{webui.url}/")
    alice.tab.wait_for_url("**/login")
    for page in (alice, bob, elsewhere):
        assert page.foreign == []
        assert page.errors == []


def test_the_login_page_speaks_chinese_to_who_reads_it(chromium: Browser, webui: WebUi) -> None:
    page = ChatPage(chromium.new_context(locale="zh-CN"), webui.url)
    page.tab.goto(f"{webui.url}/login")
    assert page.tab.inner_text("button") == "登录"
    assert page.tab.get_attribute("html", "lang") == "zh"
