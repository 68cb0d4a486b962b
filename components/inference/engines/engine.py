"""What every engine comes down to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FILES = "/etc/engine"  # where `files` are mounted
HOME = "/home/engine"
# No user entry and no home in the images for the pod's user: both are named, or PyTorch refuses to start. Models come from the
# store only, never from the internet.
ENVIRONMENT = {"USER": "engine", "HOME": HOME, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """An OpenAI server in a container. Without `command` the image's own is used; `image` is a name of versions.py."""

    image: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    command: tuple[str, ...] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    health: str = "/health"
