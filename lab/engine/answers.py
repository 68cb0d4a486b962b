"""What the stand-in says: a description of what it was sent, so that a test can tell it really arrived."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from dataclasses import dataclass
from typing import Any

from latency import PIXELS_PER_IMAGE_TOKEN
from PIL import Image, ImageStat

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (220, 20, 30),
    "green": (20, 160, 40),
    "blue": (30, 60, 220),
    "yellow": (250, 220, 30),
    "orange": (250, 140, 20),
    "purple": (130, 40, 170),
    "pink": (250, 150, 190),
    "brown": (120, 75, 35),
    "cyan": (30, 200, 210),
}
DECODE_LIMIT = 60_000_000
SAYS = "lab stand-in, not a model"
FILLER = "and so on, as a longer answer would,"


class BadRequest(Exception):
    """A request vLLM would refuse too; the text says why."""


@dataclass(frozen=True)
class SeenImage:
    width: int
    height: int
    colour: str
    digest: str

    @property
    def tokens(self) -> int:
        return max(1, self.width * self.height // PIXELS_PER_IMAGE_TOKEN) + 2


@dataclass(frozen=True)
class Seen:
    """A chat as it arrived: the last question, its images, and what came before."""

    prompt: str
    images: tuple[SeenImage, ...]
    earlier_messages: int
    earlier_images: tuple[SeenImage, ...]
    text_tokens: int

    @property
    def image_tokens(self) -> int:
        return sum(image.tokens for image in (*self.images, *self.earlier_images))

    @property
    def prompt_tokens(self) -> int:
        return self.text_tokens + self.image_tokens


def see(messages: Any, image_limit: int) -> Seen:
    """Reads the messages of a chat completion. CPU-bound with images. Raises BadRequest."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list with at least one entry")
    texts: list[str] = []
    images: list[tuple[SeenImage, ...]] = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in (
            "system",
            "developer",
            "user",
            "assistant",
            "tool",
        ):
            raise BadRequest("each message needs a role of system, user, assistant or tool")
        text, seen = _content(message.get("content"))
        texts.append(text)
        images.append(seen)
    if messages[-1]["role"] != "user":
        raise BadRequest("the last message must be the user's")
    count = sum(len(seen) for seen in images)
    if count > image_limit:
        raise BadRequest(f"At most {image_limit} image(s) may be provided in one prompt.")
    return Seen(
        prompt=texts[-1],
        images=images[-1],
        earlier_messages=len(messages) - 1,
        earlier_images=tuple(image for seen in images[:-1] for image in seen),
        text_tokens=sum(len(tokens_of(text)) + 4 for text in texts),
    )


def tokens_of(text: str) -> list[str]:
    """Words with the blanks before them: the stand-in's tokens."""
    return re.findall(r"\s*\S+", text)


def answer(seen: Seen) -> str:
    """Depends on everything that was sent: words, images, what came before."""
    said = [f"I am a {SAYS}."]
    if seen.images:
        said.append(f"You sent {len(seen.images)} image(s):")
        said += [_described(number, image) for number, image in enumerate(seen.images, start=1)]
    if seen.earlier_messages:
        said.append(f"Before this came {seen.earlier_messages} message(s).")
    if seen.earlier_images:
        sizes = ", ".join(f"{image.width}x{image.height} {image.colour}" for image in seen.earlier_images)
        said.append(f"They had {len(seen.earlier_images)} image(s): {sizes}.")
    shown = seen.prompt if len(seen.prompt) <= 300 else seen.prompt[:300] + "…"
    said.append(f'Your message has {len(seen.prompt.split())} word(s): "{shown}"')
    return " ".join(said)


def _described(number: int, image: SeenImage) -> str:
    return f"image {number} is {image.width}x{image.height}, mean colour {image.colour}, sha256 {image.digest[:12]}."


def _content(content: Any) -> tuple[str, tuple[SeenImage, ...]]:
    if content is None:
        return "", ()
    if isinstance(content, str):
        return content, ()
    if not isinstance(content, list):
        raise BadRequest("content must be a text or a list of parts")
    texts: list[str] = []
    images: list[SeenImage] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind == "image_url":
            url = part.get("image_url")
            images.append(_image(str(url.get("url", "") if isinstance(url, dict) else url)))
        else:
            raise BadRequest(f"content part of type {kind!r}; text and image_url are known")
    return "\n".join(texts), tuple(images)


def _image(url: str) -> SeenImage:
    head, comma, encoded = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise BadRequest(
            "image_url must be a data URI (data:image/...;base64,...): nothing is fetched from a network here"
        )
    try:
        content = base64.b64decode(encoded, validate=True)
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > DECODE_LIMIT:
                raise BadRequest("the image is too large")
            width, height = image.size
            image.draft("RGB", (64, 64))  # a JPEG is read at an eighth of its size: the mean does not need more
            mean = ImageStat.Stat(image.convert("RGB")).mean
    except (binascii.Error, OSError, ValueError, SyntaxError) as error:
        raise BadRequest("cannot identify image file") from error
    colour = min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], mean, strict=True)))
    return SeenImage(width, height, colour, hashlib.sha256(content).hexdigest())
