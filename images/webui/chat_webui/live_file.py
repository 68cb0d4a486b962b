"""A small file that may change while the process runs, as a mounted Secret does: read anew when it did, so keys and users
are changed without a restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from chat_webui.settings import SettingsError

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds for which a look at the file counts."""

T = TypeVar("T")


class LiveFile(Generic[T]):
    """What `read` makes of the file's bytes. A file that went away or became unreadable leaves the last good content in force."""

    def __init__(self, name: str, path: Path, read: Callable[[bytes], T]) -> None:
        """`name` is the setting that an error names. Raises SettingsError for a file that cannot be used."""
        self._name = name
        self._path = path
        self._read = read
        self._looked = time.monotonic()
        try:
            self._seen = self._stamp()
            self._value = read(path.read_bytes())
        except OSError as error:
            raise SettingsError(
                f"{name}: {path} cannot be read ({error.strerror}); the file must exist and be readable by the web UI. "
                "Mount the secret or unset the setting"
            ) from error
        except ValueError as error:
            raise SettingsError(f"{name}: {path}: {error}. Correct the file") from error

    def now(self) -> T:
        """The content as it is now."""
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._value = self._read(self._path.read_bytes())
            self._seen = stamp
            log.info("read anew", extra={"setting": self._name})
        except (OSError, ValueError) as error:
            log.error("kept as it was", extra={"setting": self._name, "why": type(error).__name__})

    def _stamp(self) -> tuple[int, int, int]:
        """The kubelet swaps a symbolic link, an editor writes in place: inode, time and size see both."""
        status = self._path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size
