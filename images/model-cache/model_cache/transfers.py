"""Getting files: from a worker that has them, or from the source where it is this node's turn."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from model_cache.board import Board
from model_cache.logs import log
from model_cache.manifest import SUMS, Entry, Manifest, ManifestError, digests
from model_cache.metrics import Metrics
from model_cache.ownership import may_read, must_withdraw
from model_cache.peers import Peer, Peers
from model_cache.sources import Source, SourceError
from model_cache.store import LocalError, Store

STREAMS, SOURCE_STREAMS = 4, 2  # transfers at once, and how many of them from the source
POLL_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0


@dataclass(slots=True)
class Attempts:
    """How often something failed in a row, and when it may be tried again."""

    failed: int = 0
    not_before: float = 0.0

    def later(self) -> float:
        """Seconds until the next try: doubled each time, and no two nodes in step."""
        self.failed += 1
        seconds = min(LONGEST_WAIT_SECONDS, 2.0 ** (self.failed - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
        self.not_before = time.monotonic() + seconds
        return seconds


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file is read from: a peer, or the source itself."""

    peer: Peer | None = None

    @property
    def kind(self) -> str:
        return "peer" if self.peer else "source"


@dataclass(slots=True)
class Transfers:
    store: Store
    source: Source
    peers: Peers
    board: Board
    metrics: Metrics
    stop: threading.Event

    def settle(self, quiet: float, limit: float) -> None:
        """Wait until the workers that start together know each other; needless where each has a source of its own."""
        if self.source.shared:
            self.peers.settle(quiet, limit, self.stop.wait)

    def manifest(self, wanted: str) -> Manifest | None:
        """The list of files, with this SHA-256 if one is wanted; nothing when told to stop."""
        attempts = Attempts()
        while not self.stop.is_set():
            self.board.tick()
            self.peers.refresh()
            origin = self._origin(SUMS, source_busy=False)
            if origin is None:
                self.stop.wait(POLL_SECONDS / 2)
                continue
            try:
                return self._read_manifest(origin, wanted)
            except (SourceError, ManifestError) as error:
                self._failed(SUMS, origin, str(error))
                self.stop.wait(attempts.later())
        return None

    def _read_manifest(self, origin: Origin, wanted: str) -> Manifest:
        if origin.peer:
            found = self.peers.manifest(origin.peer)
        else:
            with self.board.reading(SUMS):
                if self._outrun(SUMS):
                    raise SourceError("another worker reads the list of files")
                found = self.source.manifest()
                self.board.read(SUMS, len(found.text))
        self.metrics.received.labels(origin.kind).inc(len(found.text))
        if wanted and (found.digest != wanted or {e.path: e.digest for e in found.entries} != digests(found.text)):
            raise SourceError(f"{self._name(origin)}: the SHA-256 of {SUMS} is {found.digest}; {wanted} is wanted")
        return found

    def obtain(self, missing: list[Entry]) -> None:
        """Every missing file. Returns early when told to stop. Raises LocalError once all transfers have ended."""
        entries = {entry.path: entry for entry in missing}
        attempts = {path: Attempts() for path in entries}
        running: dict[Future[bool], tuple[str, Origin]] = {}
        broken: LocalError | None = None
        with ThreadPoolExecutor(STREAMS, "transfer") as pool:
            while running or (entries and not broken and not self.stop.is_set()):
                self.board.tick()
                self.peers.refresh()
                self.board.received = sum(self.store.part_size(entry) for entry in entries.values())
                if not broken and not self.stop.is_set():
                    for path, origin in self._startable(attempts, running):
                        running[pool.submit(self._transfer, entries[path], origin)] = (path, origin)
                done, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                if not running:
                    self.stop.wait(POLL_SECONDS)
                for future in done:
                    path, _ = running.pop(future)
                    try:
                        if future.result():
                            del entries[path], attempts[path]
                        else:
                            attempts[path].later()
                    except LocalError as error:
                        broken = error
        if broken:
            raise broken

    def _startable(
        self, attempts: dict[str, Attempts], running: dict[Future[bool], tuple[str, Origin]]
    ) -> list[tuple[str, Origin]]:
        """What can begin now. A file that has to wait for another node holds up no other file."""
        busy = {path for path, _ in running.values()}
        from_source = sum(origin.peer is None for _, origin in running.values())
        chosen: list[tuple[str, Origin]] = []
        for path, tried in attempts.items():
            if len(running) + len(chosen) >= STREAMS:
                break
            if path in busy or tried.not_before > time.monotonic():
                continue
            origin = self._origin(path, source_busy=from_source >= SOURCE_STREAMS)
            if origin:
                chosen.append((path, origin))
                from_source += origin.peer is None
        return chosen

    def _origin(self, path: str, *, source_busy: bool) -> Origin | None:
        """Where to read the file from now; None: nowhere yet."""
        mine = self.board.tells()
        if not self.source.shared and path not in mine.failing:
            return None if source_busy else Origin()
        if holder := self.peers.holder(path):
            return Origin(holder)
        mayhap = not self.source.shared or may_read(path, self.board.node, mine, self.peers.others())
        return Origin() if mayhap and not source_busy else None

    def _outrun(self, path: str) -> bool:
        """Whether another node began at the same moment and goes first."""
        if not self.source.shared:
            return False
        self.peers.refresh()
        return must_withdraw(path, self.board.node, self.peers.others())

    def _transfer(self, entry: Entry, origin: Origin) -> bool:
        """True once the file is here and verified. What came before an interruption is not asked for again."""
        if self.store.part_size(entry) > entry.size:
            self.store.discard(entry)
        try:
            if self.store.part_size(entry) < entry.size and not self._copy(entry, origin):
                return False
        except SourceError as error:
            self._failed(entry.path, origin, str(error))
            return False
        if not self.store.accept(entry):
            self.metrics.rejected.labels(origin.kind).inc()
            self._failed(entry.path, origin, f"{self._name(origin)}: {entry.path} is not what the list of files says")
            return False
        self.board.add(entry.path)
        return True

    def _copy(self, entry: Entry, origin: Origin) -> bool:
        """False if another node goes first or this one is to stop. Raises SourceError and LocalError."""
        start = self.store.part_size(entry)
        if origin.peer:
            self.board.message = f"reading {entry.path} from {origin.peer.node}"
            return all(self._take(entry, chunk, origin) for chunk in self.peers.read(origin.peer, entry.path, start))
        with self.board.reading(entry.path):
            if self._outrun(entry.path):
                return False
            self.board.message = f"reading {entry.path} from {self.source.name}"
            return all(self._take(entry, chunk, origin) for chunk in self.source.read(entry.path, start))

    def _take(self, entry: Entry, chunk: bytes, origin: Origin) -> bool:
        if origin.peer is None:
            self.board.read(entry.path, len(chunk))
        self.metrics.received.labels(origin.kind).inc(len(chunk))
        self.store.append(entry, chunk)
        return not self.stop.is_set()

    def _failed(self, path: str, origin: Origin, why: str) -> None:
        self.metrics.failures.labels(origin.kind).inc()
        if origin.peer:
            self.peers.shun(origin.peer, path)
        else:
            self.board.failed(path)
        self.board.message = why
        log.warning("%s", why)

    def _name(self, origin: Origin) -> str:
        return origin.peer.node if origin.peer else self.source.name
