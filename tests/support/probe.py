"""Ask an address again and again and say how long it did not answer: the judge of every fail-over test."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Probe:
    """Calls `once` every `interval` seconds until stopped; `once` raises when there is no answer.

    One call at a time hides an answer until its dial to the dead has timed out; with several `lanes` the next call does not
    wait for it, so a gap is known to `interval`.
    """

    once: Callable[[], object]
    interval: float = 0.1
    lanes: int = 1
    answered: list[float] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Probe:
        for lane in range(self.lanes):
            thread = threading.Thread(target=self._loop, args=(lane * self.interval,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _loop(self, delay: float) -> None:
        self._stop.wait(delay)
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                self.once()
                self.answered.append(time.monotonic())
            except Exception as error:  # any failure is a failure; the text is for the report
                self.failures.append((time.monotonic(), repr(error)))
            self._stop.wait(max(0.0, self.lanes * self.interval - (time.monotonic() - started)))

    def longest_gap(self) -> float:
        """Seconds between two answers in a row, at most; infinite if it never answered or has not answered since."""
        if not self.answered or (self.failures and self.failures[-1][0] > max(self.answered)):
            return float("inf")
        return max((after - before for before, after in pairwise(sorted(self.answered))), default=0.0)

    def wait_for_answer_after(self, moment: float, seconds: float) -> None:
        """Return once an answer came after `moment`; fail after `seconds`."""
        end = time.monotonic() + seconds
        while not (self.answered and self.answered[-1] > moment):
            if time.monotonic() > end:
                raise AssertionError(f"no answer for {seconds:.0f} s; last failures: {self.failures[-3:]}")
            time.sleep(0.05)


def api_livez(address: str, port: int = 6443, timeout: float = 1.0) -> Callable[[], None]:
    """`GET /livez` on an API server, without checking its certificate: only whether it answers is asked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def once() -> None:
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
        try:
            connection.request("GET", "/livez")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != 200:
            raise OSError(f"/livez: {status}")

    return once


def dial(address: str, port: int = 6443, timeout: float = 1.0) -> Callable[[], None]:
    """Opens a connection: whether somebody holds the address."""

    def once() -> None:
        socket.create_connection((address, port), timeout).close()

    return once


def api_read(kubeconfig: dict[str, Any], folder: Path, timeout: float = 5.0) -> Callable[[], None]:
    """What an operator's client asks: an object, read from etcd with its quorum, certificates verified on both sides."""
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    files = {
        "client-cert": user["client-certificate-data"],
        "client-key": user["client-key-data"],
        "ca": cluster["certificate-authority-data"],
    }
    for name, data in files.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(base64.b64decode(data))
    context = ssl.create_default_context(cafile=str(folder / "ca"))
    context.load_cert_chain(folder / "client-cert", folder / "client-key")
    host, _, port = str(cluster["server"]).removeprefix("https://").partition(":")

    def once() -> None:
        connection = http.client.HTTPSConnection(host, int(port), timeout=timeout, context=context)
        try:
            connection.request("GET", "/api/v1/namespaces/default")
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"reading a namespace: {answer.status}")

    return once
