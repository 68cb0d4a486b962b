"""Open-loop load: requests start when they are due, however long the ones before them take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

MOST_AT_ONCE = 64


@dataclass(slots=True)
class Load:
    """Calls `once` `rate` times a second from threads until the `with` block ends; `once` raises when it fails."""

    once: Callable[[], object]
    rate: float
    answered: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Returns once the last request has its answer."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _loop(self) -> None:
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            due = time.monotonic()
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                pool.submit(self._one)
                due += 1 / self.rate

    def _one(self) -> None:
        try:
            self.once()
        except Exception as error:  # any failure is a failure; the text is for the report
            with self._lock:
                self.failures.append((time.monotonic(), repr(error)))
        else:
            with self._lock:
                self.answered += 1
