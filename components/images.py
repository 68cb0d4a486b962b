"""Which image a container runs: the pinned one of versions.py, or the one the stack config puts in its place."""

from __future__ import annotations

from components.settings import Images
from components.versions import IMAGES


def image(name: str, images: Images) -> str:
    """Full reference of the image called `name` in versions.py. Raises KeyError for a name that is not there."""
    return images.overrides.get(name) or IMAGES[name].reference
