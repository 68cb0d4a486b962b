"""A client that writes to a socket what no library would send, and sees how the other side ends it."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterable
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

    def __init__(self, port: int, within: float = 20, tls: ssl.SSLContext | None = None) -> None:
        self._within = within
        self._started = time.monotonic()
        plain = socket.create_connection(("127.0.0.1", port), timeout=within)
        self._socket = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain

    def send(self, *parts: bytes) -> Bad:
        """As much as the other side takes: it may answer and close before it has read everything."""
        with contextlib.suppress(OSError):
            for part in parts:
                self._socket.sendall(part)
        return self

    def drip(self, parts: Iterable[bytes], pause: float) -> Bad:
        """Slowly, until the other side has had enough."""
        with contextlib.suppress(OSError):
            for part in parts:
                self._socket.sendall(part)
                self._socket.settimeout(pause)
                try:
                    if not self._socket.recv(1, socket.MSG_PEEK):
                        break
                    break  # an answer
                except TimeoutError:
                    continue
        self._socket.settimeout(self._within)
        return self

    def half_close(self) -> Bad:
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def read(self, bytes_wanted: int) -> bytes:
        return self._socket.recv(bytes_wanted)

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
