"""Secrets this process has seen, so that no message, log line or error can carry one."""

from __future__ import annotations

import re
import threading

SHOWN = "[secret]"
_SHORTEST = 4  # a shorter secret would blank out ordinary words
_SHORTEST_PART = 8
_ADDRESS = re.compile(r"\[?\d{1,3}(\.\d{1,3}){3}\]?([:/]\d+)?|https?://.*")


class Secrets:
    """Remembers secret texts and blanks them out of what is shown."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Remember `text`, and those of its words that may be secret by themselves (a message seldom quotes a whole key)."""
        words = {word for word in text.split() if _telling(word)}
        with self._lock:
            self._known |= words | {part for part in (text, text.strip()) if len(part) >= _SHORTEST}

    def redact(self, message: str) -> str:
        """Return `message` with every remembered secret replaced, the longest first."""
        with self._lock:
            known = sorted((part for part in self._known if part in message), key=len, reverse=True)
        for part in known:
            message = message.replace(part, SHOWN)
        return message


def _telling(word: str) -> bool:
    """Whether a word of a secret text is more than its form: long, with a digit, and no address."""
    return len(word) >= _SHORTEST_PART and any(char.isdigit() for char in word) and not _ADDRESS.fullmatch(word)
