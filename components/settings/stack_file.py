"""The plain part of a stack's checked-in config, read as a file: for tools and tests, which run without the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from components.settings import Settings
from components.settings.known import SECRETS
from components.settings.parse import parse

PROJECT = Path(__file__).resolve().parents[2]
NAMESPACE = "qwen3-vl:"


class StackFileError(Exception):
    """There is no such file, or it is no stack config; the text says which and what to do."""


def plain_values(stack: str) -> dict[str, Any]:
    """The values by key without the namespace, secrets left out. Raises StackFileError."""
    path = PROJECT / f"Pulumi.{stack}.yaml"
    try:
        config = yaml.safe_load(path.read_text())["config"]
        values = {key.removeprefix(NAMESPACE): value for key, value in config.items()}
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise StackFileError(
            f"{path.name}: {error}; STACK names a stack with a config. Set STACK or write the file"
        ) from error
    return {key: value for key, value in values.items() if key not in SECRETS}


def stack_settings(stack: str) -> Settings:
    """Checked. Raises StackFileError, SettingsError."""
    return parse(plain_values(stack))
