"""Images: what goes on as it is, what is written anew, what is refused, what is kept."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from typing import Any

import pytest
from chat_webui.conversation import KeptImage
from chat_webui.images import THUMBNAIL_BYTES, ImageRefused, ImageShelf, PreparedImage, prepare
from PIL import Image

MEGAPIXEL = 1024 * 1024


def written(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def sent(prepared: PreparedImage) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(prepared.data_uri.partition(",")[2])))


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(1).randbytes(width * height * 3))  # noqa: S311


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_small_image_goes_on_byte_for_byte(kind: str) -> None:
    content = written(Image.new("RGB", (64, 48), "orange"), kind)
    prepared = prepare(content, MEGAPIXEL)
    assert base64.b64decode(prepared.data_uri.partition(",")[2]) == content
    assert prepared.kept.digest == hashlib.sha256(content).hexdigest()
    assert (prepared.kept.width, prepared.kept.height) == (64, 48)


def test_a_large_image_is_scaled_to_the_pixel_limit_in_its_proportions() -> None:
    prepared = prepare(written(Image.new("RGB", (4000, 1000), "blue")), MEGAPIXEL)
    image = sent(prepared)
    assert image.width * image.height <= MEGAPIXEL
    assert image.width * image.height > 0.98 * MEGAPIXEL
    assert image.width / image.height == pytest.approx(4, rel=0.01)
    assert (prepared.kept.width, prepared.kept.height) == image.size


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_scaling_keeps_the_picture(kind: str) -> None:
    """Left half red, right half blue, also where the file is read at a fraction of its size."""
    halves = Image.new("RGB", (5000, 2500), (220, 20, 30))
    halves.paste((30, 60, 220), (2500, 0, 5000, 2500))
    image = sent(prepare(written(halves, kind), MEGAPIXEL)).convert("RGB")
    assert 0.98 * MEGAPIXEL < image.width * image.height <= MEGAPIXEL
    for part, colour in ((0.25, (220, 20, 30)), (0.75, (30, 60, 220))):
        found = image.getpixel((int(image.width * part), image.height // 2))
        assert found == pytest.approx(colour, abs=6)


def test_a_palette_is_scaled_in_colour() -> None:
    stripes = Image.new("P", (2000, 2000))
    stripes.putpalette([255, 0, 0, 0, 0, 255])
    stripes.putdata([(x % 2) for _ in range(2000) for x in range(2000)])
    image = sent(prepare(written(stripes), 250_000)).convert("RGB")
    assert image.getpixel((250, 250)) == pytest.approx((127, 0, 127), abs=25)


def test_a_photo_is_turned_upright_and_loses_its_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    exif[0x010F] = "maker"
    photo = Image.new("RGB", (80, 40), "red")
    image = sent(prepare(written(photo, "JPEG", exif=exif), MEGAPIXEL))
    assert image.size == (40, 80)
    assert not image.getexif()


def test_transparency_becomes_white() -> None:
    image = sent(prepare(written(Image.new("RGBA", (50, 50), (255, 0, 0, 0)), "GIF"), MEGAPIXEL))
    assert image.convert("RGB").getpixel((25, 25)) == (255, 255, 255)


@pytest.mark.parametrize(
    "image",
    [noise(3000, 2000), noise(4000, 10), Image.new("L", (1, 1)), Image.new("P", (3000, 1)), Image.new("I;16", (9, 9))],
)
def test_the_thumbnail_is_small_whatever_the_image(image: Image.Image) -> None:
    kept = prepare(written(image), MEGAPIXEL).kept
    content = base64.b64decode(kept.thumbnail.partition(",")[2])
    assert len(content) <= THUMBNAIL_BYTES
    assert max(Image.open(io.BytesIO(content)).size) <= 160


def _huge_header() -> bytes:
    """A PNG that says it has 65,000 x 65,000 pixels."""
    content = bytearray(written(Image.new("RGB", (1, 1))))
    content[16:24] = (65000).to_bytes(4, "big") * 2
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        written(Image.new("RGB", (300, 300), "red"))[:200],
        written(Image.new("RGB", (9, 9)), "TIFF"),
        _huge_header(),
    ],
)
def test_what_is_not_a_readable_image_is_refused(content: bytes) -> None:
    with pytest.raises(ImageRefused):
        prepare(content, MEGAPIXEL)


def shelved(name: str, size: int) -> PreparedImage:
    return PreparedImage("x" * size, KeptImage(name, 1, 1, f"thumbnail of {name}"))


def test_the_shelf_drops_the_least_recently_used_and_falls_back_to_the_thumbnail() -> None:
    shelf = ImageShelf(limit=100)
    first, second, third = shelved("a", 40), shelved("b", 40), shelved("c", 40)
    shelf.put(first)
    shelf.put(second)
    assert shelf.data_uri(first.kept) == first.data_uri
    shelf.put(third)
    assert shelf.data_uri(first.kept) == first.data_uri
    assert shelf.data_uri(second.kept) == "thumbnail of b"
    assert shelf.data_uri(third.kept) == third.data_uri


def test_the_same_image_twice_counts_once() -> None:
    shelf = ImageShelf(limit=100)
    for _ in range(5):
        shelf.put(shelved("a", 60))
    shelf.put(shelved("b", 40))
    assert shelf.data_uri(shelved("a", 60).kept) == "x" * 60
