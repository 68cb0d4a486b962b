"""The checked-in scripts of this project, and the texts whose digests the state holds."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from host.desired import WantedScript, digest
from host.errors import HostError
from host.remote import Command
from host.resources import ROOT

CHECK_DEADLINE = 60  # seconds; a check only looks, and a preview waits for it


@lru_cache(maxsize=256)
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def script_text(path: str, sha256: str = "") -> str:
    """The script at `path` (relative to the project's root), compared with `sha256` if that is known."""
    file = (ROOT / path).resolve()
    if not file.is_relative_to(ROOT):
        raise HostError(f"{path}: lies outside the project; only checked-in scripts are run. Move it into the project.")
    try:
        text = _text(file)
    except OSError as error:
        raise HostError(
            f"{path}: cannot be read ({error.strerror}); scripts are run from the checkout. Restore the file."
        ) from error
    if sha256 and hashlib.sha256(text.encode()).hexdigest() != sha256:
        _text.cache_clear()
        raise HostError(f"{path}: changed while the program ran; one run uses one version. Run it again.")
    return text


class Texts:
    """Contents by digest, kept in memory for this run only."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def keep(self, text: str) -> str:
        """Remember `text` and return its digest."""
        key = digest(text)
        self._texts[key] = text
        return key

    def get(self, key: str, what: str) -> bytes:
        try:
            return self._texts[key].encode()
        except KeyError:
            raise HostError(
                f"{what}: only its digest is known; texts are given by the program at each run. Run `pulumi up` with the program."
            ) from None

    def check(self, script: WantedScript, verb: str) -> Command | None:
        """The script's check, or None when its secret input is not at hand (a refresh knows digests only)."""
        return None if script.stdin and script.stdin not in self._texts else self.command(script, verb)

    def command(
        self, script: WantedScript, verb: str, material: bytes | None = None, lock: str | None = None
    ) -> Command:
        """`script` as a command; `material` (from a peer) or its own secret becomes its standard input."""
        stdin = material if material is not None else b""
        if material is None and script.stdin:
            stdin = self.get(script.stdin, f"standard input of {script.path}")
        return Command(
            script.path,
            script_text(script.path, script.sha256 if verb == "check" else ""),
            verb,
            script.environment,
            stdin,
            min(script.deadline, CHECK_DEADLINE) if verb == "check" else script.deadline,
            lock=lock,
        )
