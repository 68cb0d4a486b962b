"""The stand-in's pure parts: what it says of its input, its flags, its timing, its faults."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

import pytest
from answers import BadRequest, answer, see, tokens_of
from faults import BadFaults, Faults
from latency import Card
from options import parse_options
from PIL import Image


def picture(width: int, height: int, colour: str, kind: str = "PNG") -> tuple[bytes, dict[str, Any]]:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind)
    content = file.getvalue()
    uri = f"data:image/{kind.lower()};base64,{base64.b64encode(content).decode()}"
    return content, {"type": "image_url", "image_url": {"url": uri}}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts) if not isinstance(parts[0], str) else parts[0]}


def test_the_answer_names_words_sizes_colours_and_digests() -> None:
    content, orange = picture(640, 480, "orange")
    other, blue = picture(30, 20, "blue", "JPEG")
    said = answer(see([user({"type": "text", "text": "what is this"}, orange, blue)], 4))
    assert f"image 1 is 640x480, mean colour orange, sha256 {hashlib.sha256(content).hexdigest()[:12]}" in said
    assert f"image 2 is 30x20, mean colour blue, sha256 {hashlib.sha256(other).hexdigest()[:12]}" in said
    assert '3 word(s): "what is this"' in said
    assert "stand-in" in said


def test_the_answer_tells_what_came_before() -> None:
    _, orange = picture(64, 64, "orange")
    seen = see([user(orange), {"role": "assistant", "content": "an orange"}, user("and?")], 4)
    assert "Before this came 2 message(s)" in answer(seen)
    assert "They had 1 image(s): 64x64 orange" in answer(seen)


@pytest.mark.parametrize(("width", "height", "tokens"), [(512, 512, 256), (1024, 1024, 1024), (1280, 720, 900)])
def test_images_cost_a_token_per_32_by_32_pixels(width: int, height: int, tokens: int) -> None:
    _, image = picture(width, height, "red")
    assert see([user(image)], 4).image_tokens == tokens + 2


_, IMAGE = picture(8, 8, "red")


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "hello",
        [{"content": "no role"}],
        [{"role": "assistant", "content": "last"}],
        [user({"type": "video_url"})],
        [user({"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}})],
        [user({"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}})],
        [user({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}})],
        [user(IMAGE, IMAGE, IMAGE)],
    ],
)
def test_bad_requests(messages: Any) -> None:
    with pytest.raises(BadRequest):
        see(messages, 2)


def test_tokens_join_to_the_text() -> None:
    text = 'one two  three\n four "five" 六'
    assert "".join(tokens_of(text)) == text


def test_vllms_flags_are_read_and_unknown_ones_only_named() -> None:
    options, ignored = parse_options(
        [
            *("--model", "/models/Qwen3-VL-4B-Instruct", "--served-model-name", "Qwen/Qwen3-VL-4B-Instruct", "alias"),
            *("--host", "127.0.0.1", "--port", "8001", "--dtype", "bfloat16", "--max-model-len", "8192"),
            *("--max-num-seqs", "8", "--gpu-memory-utilization", "0.85", "--limit-mm-per-prompt", '{"image": 4}'),
            *("--enable-prefix-caching", "--api-key", "canary", "--attention-backend=FLASH_ATTN"),
        ]
    )
    assert options.names == ("Qwen/Qwen3-VL-4B-Instruct", "alias")
    assert options.root == "/models/Qwen3-VL-4B-Instruct"
    assert (options.max_model_len, options.max_num_seqs, options.images) == (8192, 8, 4)
    assert ignored == ["--dtype", "--enable-prefix-caching", "--api-key", "--attention-backend"]


@pytest.mark.parametrize(
    ("text", "limit"), [("", 999), ("image=2,video=1", 2), ('{"image": {"count": 3}}', 3), ('{"video": 1}', 999)]
)
def test_forms_of_the_image_limit(text: str, limit: int) -> None:
    assert parse_options(["--limit-mm-per-prompt", text])[0].images == limit


def test_timing_follows_its_sources() -> None:
    card = Card()
    assert card.prefill(0, 256) == pytest.approx(0.041, rel=0.01)
    assert card.prefill(0, 1024) == pytest.approx(0.163, rel=0.01)
    assert card.step(1) * 121 == pytest.approx(0.96, rel=0.02)  # the bf16 floor of a 121-token answer
    assert card.step(8) > card.step(4) > card.step(1)
    assert Card(scale=0).step(16) == 0
    assert 50_000 < card.kv_tokens < 100_000


def test_faults() -> None:
    assert Faults.read("") == Faults()
    assert Faults.read('{"error_rate": 1, "drop_after_tokens": 3}') == Faults(error_rate=1.0, drop_after_tokens=3)
    for bad in ("[]", "{", '{"boom": 1}', '{"error_rate": "x"}'):
        with pytest.raises(BadFaults):
            Faults.read(bad)
