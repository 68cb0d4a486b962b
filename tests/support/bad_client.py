"""A client that writes to a socket what no library would send, and sees how the other side ends it."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from dataclasses import dataclass

CLOSED = 0
"""In place of a status: the connection was closed without one."""
OPEN = -1
"""Neither an answer nor the end of the connection in time."""


@dataclass(frozen=True)
class Ending:
    """How a connection ended: the final status (or CLOSED, OPEN), the answer, and after how many seconds."""

    status: int
    text: bytes
    seconds: float
    ended: bool


class Bad:
    """One connection."""

    def __init__(
        self, port: int, within: float = 20, tls: ssl.SSLContext | None = None, source: str = "", window: int = 0
    ) -> None:
        self._within = within
        self._started = time.monotonic()
        plain = socket.socket()
        if window:  # bytes that the other side may send ahead; only before connecting
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        plain.settimeout(within)
        plain.bind((source, 0))
        plain.connect(("127.0.0.1", port))
        self._socket = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain

    def send(self, *parts: bytes) -> Bad:
        """As much as the other side takes: it may answer and close before it has read everything."""
        with contextlib.suppress(OSError):
            for part in parts:
                self._socket.sendall(part)
        return self

    def drip(self, piece: bytes, pause: float) -> Bad:
        """The same bytes again and again, until the other side has had enough or the time is over."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(pause)
            while time.monotonic() - self._started < self._within:
                self._socket.sendall(piece)
                try:
                    self._socket.recv(1, socket.MSG_PEEK)  # an answer, or the end
                    break
                except TimeoutError:
                    continue
        self._socket.settimeout(self._within)
        return self

    def half_close(self) -> Bad:
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def ending(self) -> Ending:
        """Reads to the end of the connection, or to the end of an answer that says how long it is."""
        self._socket.settimeout(self._within)
        text, ended = b"", False
        try:
            while not _complete(text):
                chunk = self._socket.recv(65536)
                if not chunk:
                    ended = True
                    break
                text += chunk
        except TimeoutError:
            pass
        except OSError:
            ended = True
        final = [int(found) for found in re.findall(rb"^HTTP/1\.[01] (\d{3})", text, re.M) if found != b"100"]
        seconds = time.monotonic() - self._started
        return Ending(final[-1] if final else CLOSED if ended else OPEN, text, seconds, ended)

    def to_the_end(self) -> Ending:
        """As `ending`, and then waits for the other side to close."""
        first = self.ending()
        if not first.ended:
            with contextlib.suppress(ConnectionError):
                try:
                    while self._socket.recv(65536):
                        continue
                except TimeoutError:
                    return first
        return Ending(first.status, first.text, time.monotonic() - self._started, ended=True)

    def refused_within(self, seconds: float) -> bool:
        """Whether there is an answer, or the end, so soon."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(self._within)
        return True

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Bad:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _complete(text: bytes) -> bool:
    head, found, body = text.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: (\d+)", head, re.M | re.I)
    return bool(found and length and b"connection: close" not in head.lower() and len(body) >= int(length[1]))
