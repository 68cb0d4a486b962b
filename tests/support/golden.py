"""Golden files: what a builder makes, checked in, so that a review sees every character that changes on a node."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


def compare(name: str, text: str) -> None:
    """Compare `text` with tests/golden/`name`; `make golden` (UPDATE_GOLDEN=1) writes it instead."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return
    wanted = path.read_text() if path.exists() else ""
    if text == wanted:
        return
    diff = "".join(difflib.unified_diff(wanted.splitlines(True), text.splitlines(True), f"golden/{name}", "made now"))
    raise AssertionError(f"{name} differs; if that is meant, run `make golden` and read the diff.\n{diff}")
