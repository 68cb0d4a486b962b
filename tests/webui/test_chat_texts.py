"""Both languages say everything, and the browser gets the right one."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from chat_webui.texts import DEFAULT, LANGUAGE_NAMES, TEXTS, Told, language_of, say

SOURCES = Path(__file__).resolve().parents[2] / "images/webui/chat_webui"


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_all_languages_have_the_same_texts_with_the_same_values() -> None:
    assert set(TEXTS) == set(LANGUAGE_NAMES)
    for language, texts in TEXTS.items():
        assert set(texts) == set(TEXTS[DEFAULT]), language
        for key, text in texts.items():
            assert text.strip(), (language, key)
            assert fields(text) == fields(TEXTS[DEFAULT][key]), (language, key)
            if language != DEFAULT:
                assert re.search(r"[\u4e00-\u9fff]", text), (language, key)


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    sources = "\n".join(path.read_text() for path in SOURCES.glob("*") if path.suffix in (".py", ".js"))
    named = set(re.findall(r'["\'](\w+)["\']', sources)) | {"theme_system", "theme_light", "theme_dark"}
    own = {key for key in TEXTS[DEFAULT] if key.startswith("gradio: ")}  # Gradio says them
    assert set(TEXTS[DEFAULT]) - own <= named, "a text that nothing says"
    said = re.findall(r'(?:page_text|Refused|ImageRefused|EngineError|Told|chatPage\.text|note)\("(\w+)"', sources)
    assert len(said) > 30
    assert set(said) <= set(TEXTS[DEFAULT])


@pytest.mark.parametrize(
    ("cookie", "accept", "expected"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("", "zh-TW", "zh-CN"),
        ("", "de-DE,de;q=0.9,zh;q=0.5", "zh-CN"),
        ("", "en-GB,zh;q=0.5", "en"),
        ("", "fr", "en"),
        ("qwen3vl_language=zh-CN", "en", "zh-CN"),
        ("a=b; qwen3vl_language=en", "zh", "en"),
        ("qwen3vl_language=xx", "zh", "zh-CN"),
        ("qwen3vl_language=../../etc", "", "en"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_browsers(cookie: str, accept: str, expected: str) -> None:
    assert language_of(cookie, accept) == expected


def test_values_come_into_the_text() -> None:
    assert say("en", "many_images", {"count": 5, "limit": 4}) == "5 images; one message takes at most 4"
    assert "5" in Told("many_images", count=5, limit=4).text("zh-CN")
