"""Languages, dark mode and small screens, in a real browser."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("gradio")

from chat_webui.texts import TEXTS
from playwright.sync_api import Browser

from tests.support.chat_page import CHROMIUM, ChatPage
from tests.support.chat_processes import BLUE, ORANGE, WebUi

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() or shutil.which("redis-server") is None, reason="needs chromium and redis-server"
    ),
]


def wait_for(page: ChatPage, scheme: str) -> None:
    """Until the page's background is dark (below 60 of 255) or light (above 200)."""
    script = """scheme => {
        const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
        return scheme === "dark" ? (r + g + b) / 3 < 60 : (r + g + b) / 3 > 200;
    }"""
    page.tab.wait_for_function(script, arg=scheme)


@pytest.mark.parametrize("look", ["desktop-light", "desktop-dark", "phone-light", "phone-dark"])
def test_the_page_fits_the_screen(chromium: Browser, replicas: tuple[WebUi, WebUi], look: str, tmp_path: Path) -> None:
    """The box to type in stays on the screen, nothing needs sideways scrolling, and dark is dark."""
    device, _, scheme = look.partition("-")
    size = {"width": 375, "height": 720} if device == "phone" else {"width": 1280, "height": 720}
    context = chromium.new_context(viewport=size, color_scheme=scheme, is_mobile=device == "phone")  # type: ignore[arg-type]
    page = ChatPage(context, replicas[0].url)
    page.open()
    for number, image in enumerate((ORANGE, BLUE), start=1):
        page.ask(
            f"Question {number} with a picture, long enough for a second line on a phone\n```\n{'x' * 200}\n```\nend",
            [image],
        )
        page.answer(number=number)
    shots = Path(os.environ.get("SCREENSHOTS", str(tmp_path)))
    shots.mkdir(parents=True, exist_ok=True)
    page.screenshot(shots / f"{look}.png")
    for part in ("#box", "#buttons", "#edit", "#chat"):
        box = page.tab.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= size["height"], part
        assert box["x"] >= 0, part
        assert box["x"] + box["width"] <= size["width"], part
    assert page.tab.evaluate(
        "[...document.querySelectorAll('#chat .bubble-wrap, #chat .message')].every(e => e.scrollWidth <= e.clientWidth + 1)"
    ), "a long line of code scrolls in its block"
    assert page.tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wait_for(page, scheme)
    context.close()


def test_on_a_phone_the_list_opens_over_the_chat_and_closes_again(
    chromium: Browser, replicas: tuple[WebUi, WebUi]
) -> None:
    context = chromium.new_context(viewport={"width": 375, "height": 720}, is_mobile=True, has_touch=True)
    page = ChatPage(context, replicas[0].url)
    page.open()
    page.tab.wait_for_selector("#sidebar:not(.open)", state="attached")
    page.ask("Only one")
    page.answer()
    page.tab.tap("#sidebar .toggle-button")
    page.tab.wait_for_selector("#sidebar.open")
    page.tab.tap("#conversations .open")
    page.tab.wait_for_selector("#sidebar:not(.open)", state="attached")
    assert page.questions() == ["Only one"]
    context.close()


def test_the_switch_for_dark_mode_wins_over_the_system_and_stays(
    chromium: Browser, replicas: tuple[WebUi, WebUi]
) -> None:
    context = chromium.new_context(color_scheme="light")
    page = ChatPage(context, replicas[0].url)
    page.open()
    wait_for(page, "light")
    page.tab.select_option("#choose-theme", "dark")
    wait_for(page, "dark")
    page.open()
    wait_for(page, "dark")
    assert page.tab.input_value("#choose-theme") == "dark"
    page.tab.select_option("#choose-theme", "system")
    wait_for(page, "light")
    page.tab.emulate_media(color_scheme="dark")
    wait_for(page, "dark")
    context.close()


def shown_texts(page: ChatPage) -> list[str]:
    """Every text, placeholder, title and label a reader can meet on the page, outside the conversation itself."""
    script = """() => {
        const found = [];
        const seen = (element) => !element.closest("#chat .message-row, .hidden, script, style, [aria-hidden=true]");
        const walker = document.createTreeWalker(document.querySelector("gradio-app"), NodeFilter.SHOW_TEXT);
        while (walker.nextNode())
            if (seen(walker.currentNode.parentElement) && walker.currentNode.parentElement.offsetParent)
                found.push(walker.currentNode.textContent);
        for (const element of document.querySelectorAll("gradio-app *"))
            if (seen(element) && element.offsetParent)
                for (const name of ["placeholder", "title", "aria-label"]) found.push(element.getAttribute(name) || "");
        return found.map((text) => text.trim()).filter(Boolean);
    }"""
    found: list[str] = page.tab.evaluate(script)
    return found


NOT_WORDS = re.compile(r"[^A-Za-z]*")
SAME_IN_BOTH = {"Qwen3-VL", "English"}


def english(page: ChatPage) -> list[str]:
    """What has letters but no Chinese."""
    words = [text for text in shown_texts(page) if not NOT_WORDS.fullmatch(text) and text not in SAME_IN_BOTH]
    return [text for text in words if not re.search(r"[\u4e00-\u9fff]", text)]


def test_chinese_is_chinese_throughout_and_the_switch_changes_it(
    chromium: Browser, replicas: tuple[WebUi, WebUi]
) -> None:
    context = chromium.new_context(locale="zh-CN")
    page = ChatPage(context, replicas[0].url)
    page.open()
    page.tab.click("#settings .label-wrap")
    page.tab.wait_for_selector("#system-prompt textarea")
    page.ask("你好", [ORANGE] * 5)
    assert TEXTS["zh-CN"]["many_images"].format(count=5, limit=4) in page.warning()
    assert english(page) == []
    page.tab.wait_for_selector(".toast-body", state="detached", timeout=30_000)
    assert english(page) == []
    assert not any("__i18n__" in text for text in shown_texts(page))
    assert page.tab.evaluate("document.documentElement.lang") == "zh-CN"
    page.tab.select_option("#choose-language", "en")
    page.tab.wait_for_selector("#new >> text=New chat")
    page.open()
    page.tab.wait_for_selector("#new >> text=New chat")
    chinese = [text for text in shown_texts(page) if re.search(r"[\u4e00-\u9fff]", text) and text != "中文"]
    assert chinese == []
    page.tab.click("#box button.submit-button")
    assert TEXTS["en"]["empty_question"] in page.warning()
    context.close()
