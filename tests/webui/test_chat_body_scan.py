"""The image limits of `/v1`: what is counted, what is not taken for an image, and that a body's chunks make no difference."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import pytest
from chat_webui.body_scan import BodyRefused, BodyScan
from PIL import Image


def data_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def image(kind: str, size: tuple[int, int], **options: Any) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, (1, 2, 3)).save(written, kind, **options)
    return written.getvalue()


def claimed_png(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels: a bomb needs no more than that."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    pixels = struct.pack(">I", 4000) + b"IDAT" + bytes(4000)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + pixels


def chat(*urls: str, text: str = "look") -> bytes:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content = [*parts, {"type": "text", "text": text}]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()


def refused(body: bytes, max_images: int = 4, chunk: int = 65536) -> str:
    scan = BodyScan(max_images)
    try:
        for start in range(0, len(body), chunk):
            scan.feed(body[start : start + chunk], last=start + chunk >= len(body))
    except BodyRefused as error:
        return str(error)
    return ""


SMALL = data_url(image("PNG", (64, 48)))


@pytest.mark.parametrize("chunk", [1, 7, 64, 65, 1000, 65536])
def test_as_many_images_as_are_allowed_and_no_more(chunk: int) -> None:
    assert refused(chat(*[SMALL] * 4), chunk=chunk) == ""
    assert refused(chat(*[SMALL] * 5), chunk=chunk).startswith("more than 4 images")


@pytest.mark.parametrize("chunk", [1, 64, 4096])
@pytest.mark.parametrize("url", ["http://10.96.0.1/x.png", "https://example.com/x.png", "file:///etc/passwd"])
def test_addresses_are_not_fetched(url: str, chunk: int) -> None:
    assert "addresses are not fetched" in refused(chat(url), chunk=chunk)
    assert "addresses are not fetched" in refused(json.dumps({"image_url": url}).encode(), chunk=chunk)
    assert "addresses are not fetched" in refused(b'{"video_url" : {"url"\n:\t"%s"}}' % url.encode(), chunk=chunk)


@pytest.mark.parametrize("chunk", [3, 100, 65536])
@pytest.mark.parametrize(
    "content",
    [
        claimed_png(60_000, 60_000),
        claimed_png(4001, 4000),
        image("JPEG", (8000, 7501), quality=1),
        image("JPEG", (8000, 7501), quality=1, exif=b"Exif\0\0" + bytes(60_000)),
        image("WEBP", (4001, 4000), quality=1),
        image("WEBP", (4001, 4000), lossless=True),
        image("WEBP", (4001, 4000), quality=1, exif=b"Exif\0\0" + bytes(100)),
        image("GIF", (4001, 4000)),
        image("BMP", (4001, 4000)),
    ],
    ids=["bomb", "png", "jpeg", "jpeg behind a preview", "webp", "webp lossless", "webp extended", "gif", "bmp"],
)
def test_an_image_with_too_many_pixels(content: bytes, chunk: int) -> None:
    assert "pixels" in refused(chat(SMALL, data_url(content[:100_000])), chunk=chunk)


def test_the_same_limits_as_the_pages() -> None:
    assert refused(chat(data_url(image("JPEG", (8000, 7500), quality=1), "jpeg"))) == ""
    assert refused(chat(data_url(claimed_png(4000, 4000)))) == ""
    assert refused(chat(data_url(image("WEBP", (4000, 4000), quality=1), "webp"))) == ""


@pytest.mark.parametrize(
    "text",
    [
        'why is "data:image/png;base64,AAAA" no image?',
        '{"url": "http://example.com"}',
        'a \\ and "data:image and \\\\"data:image' * 50,
        '\\"url\\": \\"http://x\\"',
        "data:image/png;base64,",
    ],
)
@pytest.mark.parametrize("chunk", [1, 5, 65536])
def test_texts_are_not_images(text: str, chunk: int) -> None:
    assert refused(chat(text=text), max_images=0 if not text.startswith("data:") else 1, chunk=chunk) == ""


def test_slashes_that_a_serialiser_escapes() -> None:
    """PHP writes `\\/` for every slash in a string."""
    body = chat(data_url(claimed_png(60_000, 60_000))).replace(b"/", b"\\/")
    assert "pixels" in refused(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{ not json",
        b'"data:image',
        b'"data:image/png;base64,',
        b'"data:image/png;base64,%%%%"',
        b'"data:image/png;base64,AAA',
        b"\\" * 100_000,
        b'"' * 100_000,
        chat(data_url(b"not an image at all" * 100_000)),
    ],
)
def test_what_cannot_be_read_is_left_to_the_engine(body: bytes) -> None:
    for chunk in (1000, 65536):
        assert refused(body, chunk=chunk) == ""
