"""Chat requests, each with a photo-like JPEG of the wanted size whose pixels no other request has.

An image is made unique by its quantisation table: eight of its entries are four bits each of the request's number, so only
66 of the body's bytes differ, and still every decoded picture does. Neither a cache by file digest nor one by pixel
content (vLLM's) can answer twice, and the generator's CPU stays free for sending.
"""

from __future__ import annotations

import base64
import io
import json
import random
from dataclasses import dataclass

from PIL import Image

QUANTISATION_TABLE = b"\xff\xdb\x00\x43\x00"  # DQT, 67 bytes, 8 bit, table 0
COMMENT = b"\xff\xfe"
COMMENT_MAX = 65_533
VARIED = range(10, 18)
"""Entries of the table, in zigzag order: low enough in frequency that a textured image has all of them."""
NUMBERS = 16 ** len(VARIED)
SEED = 20251124


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What every request has in common."""

    model: str
    stream: bool
    max_tokens: int
    kilobytes: int = 300  # of the image file; its base64 form is a third larger
    width: int = 1280
    height: int = 720
    exact: bool = False
    """As long an answer as `max_tokens` says, and its counts at the end of a stream: what vLLM knows beyond the API."""


class Questions:
    """`body(number)` is ready to send; `tag(number)` is a word in its text, which a server that echoes gives back."""

    def __init__(self, shape: Shape, first: int) -> None:
        image = photo(shape.width, shape.height, shape.kilobytes * 1000)
        self._table_at = image.index(QUANTISATION_TABLE) + len(QUANTISATION_TABLE)
        self._start = (self._table_at // 3) * 3  # base64 turns three bytes into four characters
        self._end = self._start + 69
        self._image = image
        self._first = first
        marker = "\0"
        content = [
            {"type": "text", "text": f"{marker} What is in this image?"},
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{marker}"}},
        ]
        body: dict[str, object] = {
            "model": shape.model,
            "max_tokens": shape.max_tokens,
            "stream": shape.stream,
            "messages": [{"role": "user", "content": content}],
        }
        if shape.exact:
            body |= {"ignore_eos": True} | ({"stream_options": {"include_usage": True}} if shape.stream else {})
        parts = json.dumps(body).encode().split(json.dumps(marker)[1:-1].encode())
        self._before, self._between, self._after = parts
        self._head = base64.b64encode(image[: self._start])
        self._tail = base64.b64encode(image[self._end :])

    def tag(self, number: int) -> str:
        return f"ask-{self._first + number:08x}"

    def image(self, number: int) -> bytes:
        return self._image[: self._start] + self._varied(number) + self._image[self._end :]

    def body(self, number: int) -> bytes:
        middle = base64.b64encode(self._varied(number))
        tag = self.tag(number).encode()
        return b"".join((self._before, tag, self._between, self._head, middle, self._tail, self._after))

    def _varied(self, number: int) -> bytes:
        table = bytearray(self._image[self._start : self._end])
        digits = (self._first + number) % NUMBERS
        for entry in VARIED:
            table[self._table_at - self._start + entry] = 8 + digits % 16
            digits //= 16
        return bytes(table)


def photo(width: int, height: int, size: int) -> bytes:
    """A JPEG of exactly `size` bytes: smooth areas with noise, at the highest quality that fits, then filled up by comments.

    Raises ValueError when not even the lowest quality fits.
    """
    dice = random.Random(SEED)  # noqa: S311  the same picture in every run
    coarse = Image.frombytes("RGB", (16, 9), dice.randbytes(16 * 9 * 3)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = Image.frombytes("RGB", (width, height), dice.randbytes(width * height * 3))
    picture = Image.blend(coarse, noise, 0.2)
    low, high = 0, 96
    best = b""
    while high - low > 1:
        quality = (low + high) // 2
        written = io.BytesIO()
        picture.save(written, "JPEG", quality=quality)
        if written.tell() <= size - 4:  # room for one comment
            low, best = quality, written.getvalue()
        else:
            high = quality
    if not best:
        raise ValueError(
            f"an image of {width}x{height} does not fit into {size} bytes; give more bytes or fewer pixels"
        )
    room = size - len(best)
    filling = b""
    while room:
        length = min(room, COMMENT_MAX + 2 + 2)
        if 0 < room - length < 4:
            length -= 4
        filling += COMMENT + (length - 2).to_bytes(2) + dice.randbytes(length - 4)
        room -= length
    at = best.index(QUANTISATION_TABLE)
    return best[:at] + filling + best[at:]
