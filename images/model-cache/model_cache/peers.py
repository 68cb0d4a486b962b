"""The agents of the other workers: who is there, what each has, and reading from them."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

from model_cache.board import Board
from model_cache.manifest import Manifest
from model_cache.ownership import Tells
from model_cache.sources.base import SourceError
from model_cache.sources.http import pieces, request

ANSWER_SECONDS = 3.0
SHUN_SECONDS = 60.0  # after wrong content or a broken transfer
MANIFEST_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Peer:
    address: str  # host:port
    node: str
    tells: Tells


def by_name(name: str) -> Callable[[], list[str]]:
    """`host:port` looked up anew each time; every address of the name is an agent."""
    host, _, port = name.rpartition(":")

    def addresses() -> list[str]:
        try:
            found = socket.getaddrinfo(host, int(port), socket.AF_INET, socket.SOCK_STREAM)
        except OSError:
            return []
        return sorted({f"{where[0]!s}:{port}" for *_, where in found})

    return addresses


class Peers:
    """What the last look at every peer found; a peer that does not answer is not there."""

    def __init__(self, addresses: Callable[[], list[str]], board: Board, deadline: float) -> None:
        self._addresses, self._board, self._deadline = addresses, board, deadline
        self._pool = ThreadPoolExecutor(16, "peers")
        self._lock = threading.Lock()
        self._seen: dict[str, Peer] = {}
        self._silent = 0
        self._shunned: dict[tuple[str, str], float] = {}

    def refresh(self) -> None:
        found = list(self._pool.map(self._ask, self._addresses()))
        peers = {peer.node: peer for peer in found if peer and peer.node != self._board.node}
        with self._lock:
            self._seen, self._silent = peers, found.count(None)

    def others(self) -> dict[str, Tells]:
        with self._lock:
            return {node: peer.tells for node, peer in self._seen.items()}

    def settle(self, quiet: float, limit: float, wait: Callable[[float], bool]) -> None:
        """Return once the same peers answered for `quiet` seconds and none is silent, or after `limit` seconds.

        Agents that start together must agree on who is there, or each believes that it is the one to read.
        """
        started = since = time.monotonic()
        before: set[str] | None = None
        while time.monotonic() - started < limit:
            self.refresh()
            now = set(self.others())
            if now != before or self._silent:
                before, since = now, time.monotonic()
            elif time.monotonic() - since >= quiet:
                return
            if wait(0.3):
                return

    def holder(self, path: str) -> Peer | None:
        """Any peer that has the file, verified."""
        now = time.monotonic()
        with self._lock:
            having = [
                peer
                for peer in self._seen.values()
                if path in peer.tells.have and self._shunned.get((peer.node, path), 0) <= now
            ]
        return random.choice(having) if having else None  # noqa: S311 - spreads load

    def shun(self, peer: Peer, path: str) -> None:
        with self._lock:
            self._shunned[peer.node, path] = time.monotonic() + SHUN_SECONDS

    def read(self, peer: Peer, path: str, offset: int) -> Iterator[bytes]:
        return pieces(f"http://{peer.address}/files/{quote(path)}", offset, self._deadline)

    def manifest(self, peer: Peer) -> Manifest:
        """Raises SourceError."""
        with request(f"http://{peer.address}/manifest", self._deadline) as response:
            try:
                return Manifest.from_json(response.read(MANIFEST_LIMIT).decode())
            except (OSError, ValueError) as error:
                raise SourceError(f"{peer.node}: {error}") from error

    def _ask(self, address: str) -> Peer | None:
        try:
            with request(f"http://{address}/state", ANSWER_SECONDS) as response:
                found = json.loads(response.read(MANIFEST_LIMIT))
        except (SourceError, OSError, ValueError):
            return None
        return self._peer(address, found)

    def _peer(self, address: str, found: Mapping[str, object]) -> Peer | None:
        """An agent of another revision is there, but has nothing to say about this one."""
        node = str(found.get("node"))
        if (found.get("model"), found.get("revision")) != (self._board.model, self._board.revision):
            return Peer(address, self._board.node, Tells())
        have, reading, failing = found.get("have"), found.get("reading"), found.get("failing")
        own = self._board.manifest
        other = str(found.get("manifest") or "")
        if own and other and other != own.digest:
            have = []  # another list of files under the same name: nothing of it is of use here
        return Peer(
            address,
            node,
            Tells(
                manifest=other,
                have=frozenset(map(str, have)) if isinstance(have, list) else frozenset(),
                reading={str(k): int(v) for k, v in reading.items()} if isinstance(reading, dict) else {},
                failing=frozenset(map(str, failing)) if isinstance(failing, list) else frozenset(),
                unable=bool(found.get("unable")),
            ),
        )
