"""Reading a command's output to its end, whatever order things arrive in."""

from __future__ import annotations

import threading
from typing import Any, cast

import paramiko

from host.remote import Command, execute


class Late:
    """A channel whose output and exit status arrive together, just after a second in which nothing came."""

    exit_status = 0

    def __init__(self) -> None:
        self.status_event = threading.Event()
        self._pieces: list[bytes | None] = [None, b"hostname\tn1\nclock\t1\n", b""]

    def recv(self, _: int) -> bytes:
        piece = self._pieces.pop(0)
        if piece is None:
            self.status_event.set()
            raise TimeoutError
        return piece

    def exit_status_ready(self) -> bool:
        return self.status_event.is_set()

    def recv_stderr_ready(self) -> bool:
        return False

    def recv_stderr(self, _: int) -> bytes:
        return b""

    def __getattr__(self, name: str) -> Any:  # what else is called gives nothing back
        return lambda *_args, **_kwargs: None


class Transport:
    def open_session(self, timeout: float) -> Late:  # noqa: ARG002
        return Late()

    def is_active(self) -> bool:
        return True


def test_output_that_comes_with_the_exit_status_is_not_lost() -> None:
    result = execute(cast(paramiko.Transport, Transport()), "n1", "root", Command.own("read_facts.sh"))
    assert (result.status, result.text) == (0, "hostname\tn1\nclock\t1\n")
