"""Beside the engine: waits until the pod's revision is whole on this node, then keeps it from being collected.

Needs nothing but the node's disk: a pod that starts while the source, the agent or the network is gone starts at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path

from model_cache.agent import progress
from model_cache.logs import log
from model_cache.server import serve, text
from model_cache.store import MARK, Store, read_mark

LOOK_SECONDS = 0.5
LOG_SECONDS = 10.0


def hold(
    cache: Path, model: str, revision: str, manifest_sha256: str, host: str, port: int, stop: threading.Event
) -> None:
    """Until `stop`."""
    store = Store(cache, model.rsplit("/", 1)[-1], revision)
    held = threading.Event()
    why = ["starting"]
    routes = {
        "/healthz": lambda: text(200, "ok"),
        "/ready": lambda: text(200, "held") if held.is_set() else text(503, why[0]),
    }
    server = serve(port, host, routes)
    descriptor = None
    logged = -LOG_SECONDS
    while descriptor is None and not stop.is_set():
        descriptor, why[0] = lock(store, manifest_sha256)
        if descriptor is None:
            if time.monotonic() - logged >= LOG_SECONDS:
                logged = time.monotonic()
                log.info("waiting for revision %s: %s", revision, why[0])
            stop.wait(LOOK_SECONDS)
    if descriptor is not None:
        log.info("holding revision %s", revision)
        held.set()
        stop.wait()
        os.close(descriptor)
    server.shutdown()


def lock(store: Store, manifest_sha256: str) -> tuple[int | None, str]:
    """The open mark of the revision with a shared lock on it, or nothing and why."""
    path = store.final / MARK
    manifest = read_mark(store.final)
    if manifest is None:
        return None, waiting_for(store)
    if manifest_sha256 not in ("", manifest.digest):
        return None, f"it is here with a list of files whose SHA-256 is {manifest.digest}; {manifest_sha256} is wanted"
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # not collected between the two
            return descriptor, ""
    except OSError:
        pass
    os.close(descriptor)
    return None, "it is being collected"


def waiting_for(store: Store) -> str:
    """What the node's agent says about it."""
    try:
        status = json.loads((store.root / "status.json").read_text())
    except (OSError, ValueError):
        return "no word from the cache agent of this node"
    if status.get("revision") != store.revision:
        return f"the cache agent of this node keeps revision {status.get('revision')}"
    return progress(status)
