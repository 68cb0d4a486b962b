"""The image limits of `/v1`, applied while a body passes: nothing is collected and nothing is parsed.

In JSON an unescaped quote only stands at a string's ends, so `"data:image` is always the beginning of a value and never
part of a text. From there an image's size can be read off the first bytes of its file. What hides from this by writing
letters as `\\u0064` meets the engine's own limits, which the program sets to the same numbers: this here spares the engine
the work, and keeps it from fetching addresses, which it would do from inside the cluster.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings

from PIL import Image, UnidentifiedImageError

from chat_webui.images import DECODE_LIMIT, DECODE_LIMITS, READABLE

FOUND = re.compile(rb'"(?:data:(?P<image>image)|(?:[a-z]{1,8}_)?url"\s{0,8}:\s{0,8}"(?P<remote>(?!data:)[^"]))')
AHEAD = 64
"""Bytes after a match's first that decide it; so many are kept back until the next chunk has come."""
HEADER = b";base64,"
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")
"""How files of the formats in READABLE begin. Pillow tries all it knows, which takes a millisecond for one that is none."""
LOOKS = (1024, 32 * 1024, 256 * 1024)
"""Characters of base64 after which an image's size is looked for: nearly always the first are enough, but a JPEG may have a
preview or a colour profile before it."""


class BodyRefused(Exception):
    """The body breaks a limit; the text tells the client which."""


class UnrecognisedImage(Exception):
    """Not of a format that this program knows."""


class BodyScan:
    """One body. `feed` raises BodyRefused at the first byte that shows a broken limit."""

    def __init__(self, max_images: int) -> None:
        self._max_images = max_images
        self._images = 0
        self._kept = b""
        self._image: bytearray | None = None
        self._next_look = 0

    def feed(self, chunk: bytes, last: bool) -> None:
        buffer = self._kept + chunk if self._kept else chunk
        decided = len(buffer) if last else max(0, len(buffer) - AHEAD)
        if not last and decided and buffer[decided - 1 : decided] == b"\\":
            decided -= 1  # it says of the quote behind it that it is part of a text
        place = 0
        for found in FOUND.finditer(buffer):
            if found.start() >= decided:
                break
            if buffer[found.start() - 1 : found.start()] == b"\\":
                continue  # a quote in a text. Asked here, because the pattern is fast for beginning with the quote itself
            self._take(buffer[place : found.start()], ended=True)
            place = found.end()
            if found["remote"] is not None:
                raise BodyRefused("images are sent as `data:` URLs; addresses are not fetched")
            self._images += 1
            if self._images > self._max_images:
                raise BodyRefused(f"more than {self._max_images} images; one request takes at most so many")
            self._image, self._next_look = bytearray(), 0
        self._take(buffer[place:decided], ended=last)
        self._kept = buffer[max(place, decided) :]

    def _take(self, part: bytes, ended: bool) -> None:
        """More of the image that began last, if its size is not known yet."""
        if self._image is None:
            return
        self._image += part[: LOOKS[-1] + AHEAD - len(self._image)]
        end = self._image.find(b'"')
        while self._image is not None and self._next_look < len(LOOKS):
            if len(self._image) < LOOKS[self._next_look] and end < 0 and not ended:
                return
            self._look(bytes(self._image[: end if end >= 0 else LOOKS[self._next_look]]))
            self._next_look += 1
        self._image = None

    def _look(self, uri: bytes) -> None:
        start = uri.find(HEADER)
        if start < 0:
            return
        text = uri[start + len(HEADER) :].replace(b"\\/", b"/").rstrip(b"=\\")
        try:
            content = base64.b64decode(text[: len(text) // 4 * 4])
            found = _size(content)
        except Image.DecompressionBombError:
            raise BodyRefused("an image has more pixels than are read") from None
        except UnrecognisedImage:
            self._image = None
            return
        except (binascii.Error, UnidentifiedImageError, OSError, ValueError, SyntaxError):
            return  # not enough of it yet, or not an image that this program knows: the engine judges
        width, height, limit = found
        if width * height > limit:
            raise BodyRefused(f"an image has {width} x {height} pixels; at most {limit // 1_000_000} million are read")
        self._image = None


def _size(beginning: bytes) -> tuple[int, int, int]:
    """Width, height, and the most pixels for images of its format. Raises what Pillow raises."""
    if not beginning.startswith(SIGNATURES):
        raise UnrecognisedImage
    if beginning[8:12] == b"WEBP":  # Pillow opens these only as a whole
        return *_webp_size(beginning), DECODE_LIMIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(beginning), formats=READABLE)
    return image.width, image.height, DECODE_LIMITS.get(image.format or "", DECODE_LIMIT)


def _webp_size(beginning: bytes) -> tuple[int, int]:
    """RFC 9649, sections 2.5 to 2.7. Raises ValueError for anything else."""
    kind, data = beginning[12:16], beginning[20:30]
    if len(data) < 10:
        raise ValueError("too short")
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    raise ValueError("not a WebP image")
