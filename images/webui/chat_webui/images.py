"""Images on their way to the engine: checked, turned upright, scaled to the pixel limit, and a thumbnail to keep.

An image that is small enough and carries no metadata goes on byte for byte. Everything else is written anew, which also
removes what a camera put in (place, time, owner).
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from chat_webui.conversation import KeptImage
from chat_webui.settings import MIB
from chat_webui.texts import Told

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
READABLE = (*FORMATS, "GIF", "BMP")
DECODE_LIMITS = {"JPEG": 60_000_000}
"""Pixels of the largest image that is opened at all. A JPEG is read at a half, quarter or eighth of its size if that is
enough, so a phone's 50-megapixel photo costs little."""
DECODE_LIMIT = 16_000_000
"""The same for formats that have to be decoded whole: up to 250 MB for a WebP. A screen of 5120 x 2880 has 15 million."""
BYTE_LIMIT = 2 * MIB
"""Bytes above which an image is written anew as JPEG even if its pixels fit: the engine reads it as base64 in JSON."""
THUMBNAIL_SIDE = 160
THUMBNAIL_BYTES = 8 * 1024


class ImageRefused(Told):
    """The file is not an image the engine can be asked about."""


@dataclass(frozen=True)
class PreparedImage:
    """`data_uri` goes to the engine, `kept` into the history."""

    data_uri: str
    kept: KeptImage


def prepare(content: bytes, max_pixels: int, second: float | None = None) -> PreparedImage:
    """Reads an image file of a user; `second` is its place in a video. CPU-bound (10-150 ms): call it in a thread. Raises
    ImageRefused."""
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=READABLE)
        limit = DECODE_LIMITS.get(image.format or "", DECODE_LIMIT)
        if image.width * image.height > limit:
            raise ImageRefused("large_image", width=image.width, height=image.height, millions=limit // 1_000_000)
        unchanged = (
            image.format in FORMATS
            and image.width * image.height <= max_pixels
            and len(content) <= BYTE_LIMIT
            and not image.getexif()
            and not getattr(image, "is_animated", False)
        )
        mime = FORMATS[image.format or ""] if unchanged else "image/jpeg"
        image.draft(image.mode, _size_within(image, max_pixels))
        image.load()
        if not unchanged:
            ImageOps.exif_transpose(image, in_place=True)
            image = _opaque(_within(image, max_pixels))
            content = _jpeg(image, quality=90)
        thumbnail = _thumbnail(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageRefused("not_an_image") from error
    kept = KeptImage(
        digest=hashlib.sha256(content).hexdigest(),
        width=image.width,
        height=image.height,
        thumbnail=_data_uri("image/jpeg", thumbnail),
        second=second,
    )
    return PreparedImage(_data_uri(mime, content), kept)


class ImageShelf:
    """The newest images of this process by digest, so that a follow-up question shows the engine the image itself.

    After the loss of a replica only the thumbnail of the history is left for that.
    """

    def __init__(self, limit: int = 64 * MIB) -> None:
        self._limit = limit
        self._images: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0

    def put(self, image: PreparedImage) -> None:
        if self._images.pop(image.kept.digest, None) is not None:
            self._bytes -= len(image.data_uri)
        self._images[image.kept.digest] = image.data_uri
        self._bytes += len(image.data_uri)
        while self._bytes > self._limit:
            _, dropped = self._images.popitem(last=False)
            self._bytes -= len(dropped)

    def data_uri(self, image: KeptImage) -> str:
        """The image, else its thumbnail, else an empty text."""
        found = self._images.get(image.digest)
        if found is None:
            return image.thumbnail
        self._images.move_to_end(image.digest)
        return found


def _size_within(image: Image.Image, max_pixels: int) -> tuple[int, int]:
    scale = min(1.0, (max_pixels / (image.width * image.height)) ** 0.5)
    return max(1, int(image.width * scale)), max(1, int(image.height * scale))


def _within(image: Image.Image, max_pixels: int) -> Image.Image:
    size = _size_within(image, max_pixels)
    if size == image.size:
        return image
    if image.mode in ("P", "1"):  # colours of a palette cannot be averaged
        image = image.convert("RGBA")
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _opaque(image: Image.Image) -> Image.Image:
    """RGB, with white behind what was transparent, as a page shows it."""
    if image.mode in ("RGBA", "LA", "P", "PA"):
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _jpeg(image: Image.Image, quality: int) -> bytes:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality)
    return written.getvalue()


def _thumbnail(image: Image.Image) -> bytes:
    small = _opaque(image)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=2.0)
    for quality in (75, 60, 40, 20):
        written = _jpeg(small, quality)
        if len(written) <= THUMBNAIL_BYTES:
            return written
    return _jpeg(small.resize((max(1, small.width // 2), max(1, small.height // 2))), quality=20)


def _data_uri(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
