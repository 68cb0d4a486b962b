"""Scripts whose change may shut the operator out, so that it lasts only if a new connection confirms it (host/confirming.py)."""

from __future__ import annotations

from pathlib import PurePosixPath

from host.resources import ROOT, File, Script

CONFIRM_SECONDS, UNDO_SECONDS = 60, 150  # the node waits longer than whoever is to confirm
FOLDER = "/usr/local/lib/qwen3-vl"


def confirmed_script(path: str, switch: str, *, on: bool) -> Script:
    """The script at `path`, told `on` or `off` by the variable `switch`. Off locks nobody out and needs nobody's confirmation."""
    return Script(
        path=path,
        environment={switch: "on" if on else "off", "UNDO_SECONDS": str(UNDO_SECONDS)},
        confirm_seconds=CONFIRM_SECONDS if on else None,
    )


def installed(path: str) -> str:
    """Where the script at `path` lies on a node."""
    return f"{FOLDER}/{PurePosixPath(path).name}"


def installed_file(path: str) -> dict[str, File]:
    """It lies there because the node must be able to take a change back alone."""
    return {installed(path): File(content=(ROOT / path).read_text(encoding="utf-8"), mode="0755")}
