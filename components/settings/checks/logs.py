"""The store of the logs, against its kind."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Settings
from components.settings.problem import Problem


def log_storage(settings: Settings) -> Iterator[Problem]:
    storage = settings.observability.logs.storage
    for key in ("endpoint", "bucket"):
        value = getattr(storage, key)
        path = f"observability.logs.storage.{key}"
        if storage.kind == "s3" and value is None:
            yield Problem(path, "missing", "a bucket is known by its store's address and its name", "Write it")
        if storage.kind == "disk" and value is not None:
            yield Problem(path, "set with `kind: disk`", "it belongs to `s3`", "Remove it")
