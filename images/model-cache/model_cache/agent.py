"""One agent: the loop that fills, the server that shares, the report on both."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from model_cache.board import Board
from model_cache.filler import Filler, Policy
from model_cache.logs import log
from model_cache.metrics import Metrics
from model_cache.peers import Peers, by_name
from model_cache.server import Files, agent_routes, serve
from model_cache.sources import open_source
from model_cache.store import Store
from model_cache.transfers import Transfers

STATUS_SECONDS = 2.0
LOG_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSettings:
    """`peers` is a name with a port that resolves to every agent, or a list of addresses separated by commas."""

    model: str
    revision: str
    source: str
    cache: Path
    node: str
    peers: str
    host: str
    port: int
    credential: Path | None
    deadline_seconds: float
    policy: Policy


def run(settings: AgentSettings, stop: threading.Event) -> None:
    """Until `stop`. Raises ValueError for a source that is none, OSError for a port that is taken."""
    source = open_source(
        settings.source, settings.model, settings.revision, settings.credential, settings.deadline_seconds
    )
    store = Store(settings.cache, settings.model.rsplit("/", 1)[-1], settings.revision)
    board = Board(settings.node, settings.model, settings.revision)
    metrics = Metrics(board)
    listed = [address for address in settings.peers.split(",") if address]
    addresses = by_name(listed[0]) if len(listed) == 1 else lambda: listed
    peers = Peers(addresses, board, settings.deadline_seconds)
    server = serve(settings.port, settings.host, agent_routes(board, metrics), Files(board, store, metrics))
    reporter = threading.Thread(target=report, args=(board, store, stop), name="report", daemon=True)
    reporter.start()
    log.info("keeping %s, revision %s, from %s", settings.model, settings.revision, source.name)
    try:
        transfers = Transfers(store, source, peers, board, metrics, stop)
        Filler(store, transfers, board, metrics, settings.policy, stop).run()
    finally:
        server.shutdown()
        reporter.join(STATUS_SECONDS)


def report(board: Board, store: Store, stop: threading.Event) -> None:
    """Progress into the cache's folder, for the pods that wait, and less often into the log."""
    logged = 0.0
    before: dict[str, object] = {}
    while not stop.is_set():
        status = board.status()
        if status != before:
            store.tell(status)
            if logged >= LOG_SECONDS and not board.complete:
                log.info("%s", progress(status))
                logged = 0.0
            before = status
        stop.wait(STATUS_SECONDS)
        logged += STATUS_SECONDS


def progress(status: dict[str, object]) -> str:
    """One line for people."""
    have, whole = int(str(status.get("bytes", 0))), int(str(status.get("of_bytes", 0)))
    share = f"{100 * have // whole} %" if whole else "nothing yet"
    files = f"{status.get('files')} of {status.get('of_files')} files"
    return f"{share}, {have >> 20} of {whole >> 20} MiB, {files}: {status.get('message')}"
