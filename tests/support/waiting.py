"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(true: Callable[[], Any], what: str | Callable[[], Any], within: float = 60) -> None:
    """`what` says what is waited for, or looks what is there instead once it is too late."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {within:g} s for {what if isinstance(what, str) else what()}")
        time.sleep(0.2)
