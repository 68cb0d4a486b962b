"""HTTP: probes, metrics, what this agent has, and its verified files for the other workers."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from prometheus_client import generate_latest

from model_cache.board import Board
from model_cache.metrics import Metrics
from model_cache.store import Store

UPLOADS = 8  # at once; the next one is told to come back
SILENT_SECONDS = 300.0  # the main loop hashes and writes, but goes round more often than this
IDLE_SECONDS = 60.0  # a reader that takes nothing
PIECE = 4 << 20
_RANGE = re.compile(r"bytes=(\d+)-")

Answer = tuple[int, str, bytes]


def serve(port: int, host: str, routes: dict[str, Callable[[], Answer]], files: Files | None = None) -> Server:
    server = Server((host, port), routes, files)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server


def text(status: int, said: str) -> Answer:
    return status, "text/plain; charset=utf-8", f"{said}\n".encode()


def agent_routes(board: Board, metrics: Metrics) -> dict[str, Callable[[], Answer]]:
    def healthz() -> Answer:
        silent = board.silent_seconds()
        return text(200, "ok") if silent < SILENT_SECONDS else text(503, f"the main loop is silent for {silent:.0f} s")

    def ready() -> Answer:
        return text(200, "complete") if board.complete else text(503, board.message)

    def manifest() -> Answer:
        found = board.manifest
        return (200, "application/json", found.to_json().encode()) if found else text(404, "no manifest yet")

    return {
        "/healthz": healthz,
        "/ready": ready,
        "/metrics": lambda: (200, "text/plain; version=0.0.4", generate_latest(metrics.registry)),
        "/state": lambda: (200, "application/json", board.to_json().encode()),
        "/manifest": manifest,
    }


class Files:
    """The verified files, and nothing else: a path is looked up among the manifest's, never opened as it came."""

    def __init__(self, board: Board, store: Store, metrics: Metrics) -> None:
        self.board, self.store, self.metrics = board, store, metrics
        self.uploads = threading.BoundedSemaphore(UPLOADS)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, place: tuple[str, int], routes: dict[str, Callable[[], Answer]], files: Files | None) -> None:
        self.routes, self.files = routes, files
        super().__init__(place, Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/files/") and self.server.files:
            self._file(self.server.files, unquote(path.removeprefix("/files/")))
        elif path in self.server.routes:
            self._send(*self.server.routes[path]())
        else:
            self._send(*text(404, "no such path"))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, files: Files, path: str) -> None:
        manifest = files.board.manifest
        entry = manifest.by_path().get(path) if manifest else None
        if entry is None or path not in files.board.have():
            return self._send(*text(404, "not here"))
        wanted = _RANGE.fullmatch(self.headers.get("Range", "bytes=0-"))
        start = int(wanted[1]) if wanted else 0
        if start > entry.size:
            return self._send(*text(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "beyond the end"))
        if not files.uploads.acquire(blocking=False):
            return self._send(*text(503, "busy; try another"))
        try:
            with files.store.locate(entry).open("rb") as content:
                self.send_response(206 if start else 200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(entry.size - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{entry.size - 1}/{entry.size}")
                self.end_headers()
                while start < entry.size:
                    sent = self.connection.sendfile(content, start, min(PIECE, entry.size - start))
                    if not sent:
                        break
                    files.metrics.sent.inc(sent)
                    start += sent
                self.close_connection = start < entry.size  # shorter than promised: the reader must notice
        except OSError:
            self.close_connection = True
        finally:
            files.uploads.release()

    def log_message(self, format: str, *args: object) -> None:
        """Probes and polls every second are no news."""
