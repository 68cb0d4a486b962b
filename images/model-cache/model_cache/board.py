"""What this agent knows about its own copy, shared by the threads that fill it, serve it and report on it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from model_cache.manifest import SUMS, Manifest
from model_cache.ownership import Tells

UNABLE_AFTER_SECONDS = 120.0


class Board:
    """Every method may be called from any thread."""

    def __init__(self, node: str, model: str, revision: str) -> None:
        self.node, self.model, self.revision = node, model, revision
        self._lock = threading.Lock()
        self._manifest: Manifest | None = None
        self._have: set[str] = set()
        self._reading: dict[str, int] = {}
        self._failing: set[str] = set()
        self._failing_since: float | None = None
        self._tick = time.monotonic()
        self.received = 0  # bytes of files that are not whole yet
        self.complete = False
        self.stuck = False  # this node's own disk is in the way, so its turn goes to others
        self.message = "starting"

    @property
    def manifest(self) -> Manifest | None:
        return self._manifest

    def set_manifest(self, manifest: Manifest, have: set[str]) -> None:
        with self._lock:
            self._manifest, self._have = manifest, set(have)

    def have(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._have)

    def add(self, path: str) -> None:
        with self._lock:
            self._have.add(path)

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Tell the others that this node is reading the file from the source."""
        with self._lock:
            self._reading[path] = 0
        try:
            yield
        finally:
            with self._lock:
                self._reading.pop(path, None)

    def read(self, path: str, count: int) -> None:
        with self._lock:
            if path in self._reading:
                self._reading[path] += count
            self._failing.clear()
            self._failing_since = None

    def failed(self, path: str) -> None:
        with self._lock:
            self._failing.add(path)
            if self._failing_since is None:
                self._failing_since = time.monotonic()

    def tick(self) -> None:
        """The main loop goes round."""
        self._tick = time.monotonic()

    def silent_seconds(self) -> float:
        return time.monotonic() - self._tick

    def tells(self) -> Tells:
        with self._lock:
            since = self._failing_since
            return Tells(
                manifest=self._manifest.digest if self._manifest else "",
                have=frozenset(self._have | ({SUMS} if self._manifest else set())),
                reading=dict(self._reading),
                failing=frozenset(self._failing),
                unable=self.stuck or (since is not None and time.monotonic() - since > UNABLE_AFTER_SECONDS),
            )

    def to_json(self) -> str:
        tells = self.tells()
        return json.dumps(
            {
                "node": self.node,
                "model": self.model,
                "revision": self.revision,
                "manifest": tells.manifest,
                "have": sorted(tells.have),
                "reading": tells.reading,
                "failing": sorted(tells.failing),
                "unable": tells.unable,
                "complete": self.complete,
            }
        )

    def status(self) -> dict[str, object]:
        """For who waits and for the log."""
        manifest, have = self._manifest, self.have()
        whole = sum(entry.size for entry in manifest.entries if entry.path in have) if manifest else 0
        return {
            "model": self.model,
            "revision": self.revision,
            "complete": self.complete,
            "files": len(have),
            "of_files": len(manifest.entries) if manifest else 0,
            "bytes": whole + max(0, self.received),
            "of_bytes": manifest.size if manifest else 0,
            "message": self.message,
        }
