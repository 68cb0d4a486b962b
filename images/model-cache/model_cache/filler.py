"""Keeps this node's copy whole: fills it, mends it, collects old ones. One loop, for ever."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from model_cache.board import Board
from model_cache.logs import log
from model_cache.manifest import Entry, Manifest
from model_cache.metrics import Metrics
from model_cache.store import LocalError, Store
from model_cache.transfers import Attempts, Transfers


@dataclass(frozen=True, slots=True)
class Policy:
    manifest_sha256: str = ""  # of the source's list of files; empty: any
    reserve_percent: float = 15.0
    grace_seconds: float = 600.0  # an old revision that nobody has held for so long is removed
    look_seconds: float = 30.0  # between two looks at what is here
    scrub_seconds: float = 86_400.0  # every byte of the copy is read again this often
    settle_seconds: float = 3.0
    settle_limit_seconds: float = 20.0


@dataclass(slots=True)
class Filler:
    store: Store
    transfers: Transfers
    board: Board
    metrics: Metrics
    policy: Policy
    stop: threading.Event
    _checked: bool = False
    _scrubbed: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        attempts = Attempts()
        while not self.stop.is_set():
            self.board.tick()
            try:
                self._once()
                attempts = Attempts()
            except LocalError as error:
                self.board.stuck = True
                self._complain(str(error))
                self._wait(attempts.later())
            except Exception as error:  # the agent's whole purpose is to go on
                log.exception("unexpected")
                self._complain(repr(error))
                self._wait(attempts.later())

    def _once(self) -> None:
        self.store.prepare()
        manifest = self.store.complete()
        if manifest and self.policy.manifest_sha256 not in ("", manifest.digest):
            raise LocalError(
                f"revision {self.store.revision} is here with a list of files whose SHA-256 is {manifest.digest},"
                f" {self.policy.manifest_sha256} is wanted; a revision never changes. Give the other content another name"
            )
        if manifest is None or not self._intact(manifest):
            self._fill(manifest)
        if not self.stop.is_set():
            self.board.complete = True
            self.board.message = "complete"
            for name in self.store.collect(self.policy.grace_seconds):
                self.metrics.collected.inc()
                log.info("removed %s: no pod has used it for %.0f s", name, self.policy.grace_seconds)
            self._wait(self.policy.look_seconds)

    def _intact(self, manifest: Manifest) -> bool:
        """At the start by sizes, which a start can wait for; from time to time by reading everything."""
        if not self._checked:
            self._checked = True
            have = {e.path for e in manifest.entries if self._has_size(e)}
        elif time.monotonic() - self._scrubbed >= self.policy.scrub_seconds:
            self._scrubbed = time.monotonic()
            have = self.store.verified(manifest, self.board.tick)
        else:
            return True
        self.board.set_manifest(manifest, have)
        bad = sorted(set(manifest.by_path()) - have)
        if bad:
            log.error("damaged: %s", ", ".join(bad))
        return not bad

    def _has_size(self, entry: Entry) -> bool:
        try:
            return self.store.locate(entry).stat().st_size == entry.size
        except OSError:
            return False

    def _fill(self, known: Manifest | None) -> None:
        """Raises LocalError. Returns early when told to stop."""
        self.board.complete = False
        self.board.message = "looking for the other workers"
        self.transfers.settle(self.policy.settle_seconds, self.policy.settle_limit_seconds)
        manifest = known or self.transfers.manifest(self.policy.manifest_sha256)
        if manifest is None:
            return
        have = self.store.verified(manifest, self.board.tick)
        self.board.set_manifest(manifest, have)
        missing = [entry for entry in manifest.entries if entry.path not in have]
        self._make_room(sum(entry.size - min(entry.size, self.store.part_size(entry)) for entry in missing))
        self.board.stuck = False
        log.info("%d of %d files missing, %d MiB in all", len(missing), len(manifest.entries), manifest.size >> 20)
        self.transfers.obtain(missing)
        if not self.stop.is_set() and self.store.complete() is None:
            self.store.finish(manifest)
        if not self.stop.is_set():
            log.info("revision %s is complete", self.store.revision)

    def _make_room(self, needed: int) -> None:
        try:
            self.store.room(needed, self.policy.reserve_percent)
        except LocalError:
            self.store.collect(self.policy.grace_seconds)
            self.store.room(needed, self.policy.reserve_percent)

    def _complain(self, why: str) -> None:
        self.board.message = why
        log.warning("%s", why)

    def _wait(self, seconds: float) -> None:
        self.board.tick()
        self.stop.wait(seconds)
