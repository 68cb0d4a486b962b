"""Several conversations, editing, settings, copying, files by paste, drop and video, in a real browser."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("gradio")

from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.chat_page import CHROMIUM, FLAGS, ChatPage
from tests.support.chat_processes import BLUE, ORANGE, Engine, Redis, WebUi

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() or shutil.which("redis-server") is None, reason="needs chromium and redis-server"
    ),
]

CODE = "```python\ndef f(x):\n    return x + 1\n```"


def stored(redis: Redis, user_id: str) -> dict[str, Any]:
    command = ["redis-cli", "-p", str(redis.port), "--raw", "GET", f"chat:{user_id}"]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def test_conversations_are_listed_opened_renamed_and_deleted(page: ChatPage, redis: Redis) -> None:
    page.ask("First topic", [ORANGE])
    page.answer()
    page.new_chat()
    page.ask("Second topic")
    assert "They had" not in page.answer(), "a new chat knows nothing of the other"
    assert page.conversations() == ["Second topic", "First topic"]
    page.switch_to("First topic")
    page.tab.wait_for_selector("#chat >> text=mean colour orange")
    assert page.questions()[-1] == "First topic"
    assert page.images() == 1
    page.ask("More of it")
    assert "They had 1 image(s)" in page.answer(number=2)
    assert page.conversations() == ["First topic", "Second topic"], "the one used last comes first"
    page.rename("Second topic", "<b>Ünlü</b> 名字")
    page.open()
    page.tab.wait_for_selector("#conversations .row.current")
    assert page.conversations() == ["First topic", "<b>Ünlü</b> 名字"]
    page.delete("First topic")
    page.tab.wait_for_selector("#chat >> text=Second topic")
    kept = stored(redis, page.user_id())
    assert [(one["title"], len(one["turns"])) for one in kept["conversations"]] == [("<b>Ünlü</b> 名字", 1)]
    assert "First topic" not in json.dumps(kept)


def test_an_answer_grows_on_in_a_conversation_that_is_not_open(page: ChatPage, engine: Engine) -> None:
    engine.faults(token_delay=0.2)
    page.ask("slow " + " ".join(f"word{n}" for n in range(20)))
    while "stand-in" not in "".join(page.answers()):
        time.sleep(0.05)
    slow = page.conversations()[0]
    page.new_chat()
    page.ask("quick")
    quick = page.growing_answer(1)
    assert all("word" not in text.split("quick")[0] or "Your message" in text for text in quick)
    assert not any("word5" in text for text in quick), "nothing of the other conversation is shown in this one"
    assert page.questions() == ["quick"]
    page.switch_to(slow)
    assert page.conversations() == ["quick", slow]
    page.delete("quick")
    assert "word19" in page.answer()


def test_what_is_deleted_while_its_answer_grows_does_not_come_back(
    page: ChatPage, engine: Engine, redis: Redis
) -> None:
    page.ask("keep")
    page.answer()
    page.new_chat()
    engine.faults(token_delay=0.3)
    page.ask("gone")
    while "stand-in" not in "".join(page.answers()):
        time.sleep(0.05)
    page.delete("gone")
    page.tab.wait_for_selector("#chat >> text=keep")
    time.sleep(1)
    assert page.questions() == ["keep"], "the page stays at what it went to"
    assert page.conversations() == ["keep"]
    assert [one["turns"][0]["question"] for one in stored(redis, page.user_id())["conversations"]] == ["keep"]
    assert engine.metric("vllm:num_requests_running") == 0


def test_the_last_question_is_edited_and_asked_again_with_its_images(page: ChatPage) -> None:
    page.ask("First", [ORANGE])
    page.answer()
    page.edit()
    assert page.tab.input_value("#box textarea") == "First"
    page.tab.click("#cancel")
    page.tab.wait_for_selector("#editing", state="hidden")
    assert page.tab.input_value("#box textarea") == ""
    page.edit()
    page.ask("Changed", [BLUE])
    page.tab.wait_for_selector("#chat .bot >> text=Changed")
    answer = page.answer()
    assert "You sent 2 image(s)" in answer
    assert "640x480" in answer
    assert "320x200" in answer
    assert page.questions()[-1] == "Changed"
    assert len(page.answers()) == 1
    assert page.tab.query_selector("#editing:visible") is None


def test_settings_are_kept_used_and_bounded(page: ChatPage, redis: Redis) -> None:
    page.tab.click("#settings .label-wrap")
    page.tab.fill("#system-prompt textarea", "Answer in verse.")
    page.tab.fill("#max-tokens input[type=number]", "16")
    page.tab.fill("#temperature input[type=number]", "1.5")
    page.tab.press("#temperature input[type=number]", "Tab")
    page.ask("Say much " * 30)
    answer = page.answer()
    assert len(answer.split()) == 16, "the engine was asked for so many tokens"
    assert "Before this came 1 message(s)" in answer, "the system prompt is sent"
    kept = stored(redis, page.user_id())["settings"]
    assert kept == {"system_prompt": "Answer in verse.", "temperature": 1.5, "top_p": 0.8, "max_tokens": 16}
    page.open()
    page.answer()
    page.ask("Say much again " * 30)
    assert len(page.answer(number=2).split()) == 16, "also where nobody opened the settings"
    page.tab.click("#settings .label-wrap")
    assert page.tab.input_value("#system-prompt textarea") == "Answer in verse."
    assert page.tab.input_value("#temperature input[type=number]") == "1.5"
    page.tab.click("#defaults")
    page.tab.wait_for_function("document.querySelector('#system-prompt textarea').value === ''")
    assert stored(redis, page.user_id())["settings"]["max_tokens"] == 0


def test_answers_and_code_are_highlighted_sanitised_and_copied(page: ChatPage) -> None:
    evil = '<img src=x onerror="document.title=1"> <script>document.title=2</script> [go](javascript:alert(1))'
    page.ask(f"**bold** {evil}\n{CODE}\nend")
    answer = page.answer()
    chat = page.tab.locator("#chat .bot").last
    assert chat.locator("strong", has_text="bold").count() == 1
    assert chat.locator("pre .token.keyword").count() >= 2, "Prism marked `def` and `return`"
    assert chat.locator("script").count() == 0
    assert chat.locator("[onerror]").count() == 0
    assert chat.locator("a[href^='javascript']").count() == 0
    assert "bold" in answer
    assert page.tab.title() == "Qwen3-VL"
    assert page.copy_code().rstrip() == "def f(x):\n    return x + 1"
    assert CODE in page.copy_answer(), "the answer is copied as it was written"


def test_copying_works_without_https_too(chromium: Browser, replicas: tuple[WebUi, WebUi]) -> None:
    """The manual's page is served by HTTP, where browsers have no clipboard API."""
    flags = [*FLAGS, "--host-resolver-rules=MAP chat.example 127.0.0.1"]
    other = chromium.browser_type.launch(executable_path=CHROMIUM, args=flags)
    page = ChatPage(other.new_context(), f"http://chat.example:{replicas[0].port}")
    page.open()
    assert page.tab.evaluate("window.isSecureContext") is False
    page.ask(f"Copy\n{CODE}\nend")
    page.answer()
    assert page.copy_code().rstrip() == "def f(x):\n    return x + 1"
    assert "lab stand-in" in page.copy_answer()
    assert page.errors == []
    other.close()


def test_images_are_pasted_and_dropped(page: ChatPage) -> None:
    page.paste(ORANGE, "image.png", "image/png")
    page.attached(1)
    page.drop(BLUE, "blue.png", "image/png")
    page.attached(2)
    page.tab.fill("#box textarea", "Which?")
    page.tab.press("#box textarea", "Enter")
    answer = page.answer()
    assert "image 1 is 640x480" in answer
    assert "image 2 is 320x200" in answer
    assert page.images() == 2


def _recorded(tab: Page) -> bytes:
    """A WebM of the browser's own making: one second of red, one of green, without its length in front, as phones and
    screen recorders write it."""
    script = """async () => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [320, 240];
        const paint = canvas.getContext("2d");
        const recorder = new MediaRecorder(canvas.captureStream(20), {mimeType: "video/webm;codecs=vp8"});
        const chunks = [];
        recorder.ondataavailable = (event) => chunks.push(event.data);
        const done = new Promise((resolve) => (recorder.onstop = resolve));
        const start = performance.now();
        const timer = setInterval(() => {
            paint.fillStyle = performance.now() - start < 1000 ? "rgb(220,20,30)" : "rgb(20,150,60)";
            paint.fillRect(0, 0, 320, 240);
        }, 30);
        recorder.start();
        await new Promise((resolve) => setTimeout(resolve, 2000));
        recorder.stop();
        await done;
        clearInterval(timer);
        const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
        return btoa([...bytes].map((byte) => String.fromCharCode(byte)).join(""));
    }"""
    return base64.b64decode(tab.evaluate(script))


def test_a_video_becomes_pictures_in_the_browser(page: ChatPage, redis: Redis) -> None:
    video = _recorded(page.tab)
    sent: list[str] = []
    page.tab.on(
        "request", lambda request: sent.append(request.post_data_buffer.hex() if request.post_data_buffer else "")
    )
    page.drop(video, "clip.webm", "video/webm")
    page.attached(4)
    assert video[:64].hex() not in "".join(sent), "the video itself stays in the browser"
    page.tab.fill("#box textarea", "What happens?")
    page.tab.press("#box textarea", "Enter")
    answer = page.answer()
    assert "You sent 4 image(s)" in answer
    assert "image 1 is 320x240, mean colour red" in answer
    assert "image 4 is 320x240, mean colour green" in answer
    (conversation,) = stored(redis, page.user_id())["conversations"]
    seconds = [image["second"] for image in conversation["turns"][0]["images"]]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1] < 10


def test_a_video_that_cannot_be_read_is_told(page: ChatPage) -> None:
    page.drop(b"no video", "x.mp4", "video/mp4")
    page.tab.wait_for_selector("#page-note >> text=cannot read")
    page.attached(0)


def test_two_tabs_of_one_user_lose_nothing_of_each_other(
    context: BrowserContext, page: ChatPage, replicas: tuple[WebUi, WebUi]
) -> None:
    other = ChatPage(context, replicas[1].url)
    other.open()
    page.ask("From one tab")
    other.ask("From the other")
    page.answer()
    other.answer()
    deadline = time.monotonic() + 30  # a replica that waited too long for Redis saves what it has some seconds later
    while sorted(page.conversations()) != ["From one tab", "From the other"]:
        assert time.monotonic() < deadline, page.conversations()
        page.open()
        page.tab.wait_for_selector("#conversations .row.current")


@pytest.mark.parametrize("gone", ["engine", "engine-later", "redis"])
def test_what_is_down_is_told_until_it_is_back(context: BrowserContext, gone: str) -> None:
    """An engine that never answered is loading, one that did is down; both notes go away by themselves."""
    engine, redis = Engine(time_scale=0), Redis()
    with ExitStack() as running:
        running.enter_context(redis)
        running.callback(engine.kill)
        if gone != "engine":
            engine.start()
        webui = running.enter_context(WebUi(engine, redis.port))
        if gone != "engine":
            webui.wait_ready()
        if gone == "engine-later":
            engine.kill()
            webui.wait_ready(False)
        if gone == "redis":
            redis.kill()
        page = ChatPage(context, webui.url)
        page.open()
        said = {"engine": "still being loaded", "engine-later": "cannot be reached", "redis": "cannot be saved"}[gone]
        page.tab.wait_for_selector(f"#status >> text={said}")
        page.ask("Anyone?")
        answer = page.answer()
        if gone != "redis":
            assert "press Retry" in answer
            assert said in page.status()
        (engine if gone != "redis" else redis).start()
        page.tab.wait_for_selector("#status p", state="detached", timeout=40_000)
        page.retry()
        page.tab.wait_for_selector("#chat .bot >> text=lab stand-in")
        assert page.errors == []


def test_a_full_engine_and_a_long_wait_are_told(context: BrowserContext, redis: Redis) -> None:
    with Engine(time_scale=0) as engine, WebUi(engine, redis.port, ("--max-chats", "1")) as webui:
        webui.wait_ready()
        engine.faults(hang=True)
        page = ChatPage(context, webui.url)
        page.open()
        page.ask("First")
        page.tab.wait_for_selector("#chat >> text=Yours is in line")
        page.new_chat()
        page.ask("Second")
        assert "too many answers" in page.warning()
        assert page.tab.input_value("#box textarea") == "Second"
