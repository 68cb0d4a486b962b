"""Where the mirror keeps what it made, each piece named by the hash of what it was made from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("QWENVL_CACHE", Path.home() / ".cache" / "qwenvl"))
PARTS = CACHE / "mirror-parts"
STARTED = time.monotonic()

# Left by tools that were only looking; never part of what an image or a package is made from.
IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


class MirrorError(Exception):
    """Something the user can act on: printed as one line, without a traceback."""


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:6.1f}s] {text}", file=sys.stderr, flush=True)


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, stdin: str = "") -> str:
    """Run one command and return its standard output. Raises MirrorError with the end of what it complained about."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, env={**os.environ, **(env or {})}, input=stdin, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise MirrorError(
            f"{words[0]}: not installed; `mirror build` installs it where apt-get is to be had"
        ) from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise MirrorError(
            f"{' '.join(words[:4])}: exit {done.returncode}: " + "\n  ".join(lines[-12:] or ["no message"])
        )
    return done.stdout


def digest(*items: object) -> str:
    """Sixteen hexadecimal digits that change when any item does. Items are separated: ("ab", "c") differs from ("a", "bc")."""
    state = hashlib.sha256()
    for item in items:
        text = repr(item).encode()
        state.update(str(len(text)).encode() + b":" + text)
    return state.hexdigest()[:16]


def tree_digest(folder: Path) -> str:
    """The hash of a folder's files: their paths, contents and whether they are executable."""
    entries = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if IGNORED & set(inside.parts) or not path.is_file():
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append((str(inside), bool(path.stat().st_mode & 0o100), content))
    return digest(entries)


def part(name: str, hash_: str, make: Callable[[Path], None]) -> Path:
    """The folder `name-hash`, made by `make` the first time.

    It is made under another name and renamed at the end: a part that exists is whole.
    """
    target = PARTS / f"{name}-{hash_}"
    if target.is_dir():
        return target
    PARTS.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=PARTS))
    try:
        make(scratch)
        scratch.chmod(0o755)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    say(f"{name}: made in {time.monotonic() - begun:.0f} s")
    return target


@contextmanager
def locked() -> Iterator[None]:
    """One mirror is built at a time; a second caller waits and then finds the first one's parts."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "mirror.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build of the mirror is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
