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
    return {key: value for key, value in _config(_read(stack), stack).items() if key not in SECRETS}


def may_hold(secret: str, stack: str) -> bool:
    """Whether the engine may know a secret of that name: it is in the file, or an environment brings what is not in it."""
    file = _read(stack)
    return secret in _config(file, stack) or "environment" in file


def _read(stack: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load((PROJECT / _name(stack)).read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _refused(stack, error) from error
    if not isinstance(found, dict):
        raise _refused(stack, "not a mapping")
    return found


def _config(file: dict[str, Any], stack: str) -> dict[str, Any]:
    try:
        return {key.removeprefix(NAMESPACE): value for key, value in file["config"].items()}
    except (KeyError, AttributeError) as error:
        raise _refused(stack, error) from error


def _name(stack: str) -> str:
    return f"Pulumi.{stack}.yaml"


def _refused(stack: str, error: Exception | str) -> StackFileError:
    return StackFileError(f"{_name(stack)}: {error}; STACK names a stack with a config. Set STACK or write the file")


def stack_settings(stack: str) -> Settings:
    """Checked. Raises StackFileError, SettingsError."""
    return parse(plain_values(stack))
