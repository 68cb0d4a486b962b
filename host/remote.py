"""One script on one node: what goes over the wire, and how its end is known.

The text on the wire is fixed but for the script's name, verb and deadline. The script, its environment and its secret
input go by standard input, so no process list ever shows them.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

from host.errors import ConnectionLost, DeadlineExceeded

SCRIPTS = Path(__file__).resolve().parent / "scripts"

# Reads the script from standard input without a byte too much: what follows is the script's own input.
BOOT = 'IFS= read -r size && body=$(head -c "$size") && eval "$body"'
# sshd's PATH may lack the folders of the administrator's programs.
_PREAMBLE = """export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset size body
umask 022
"""
_LOCKED = 75  # exit status of flock when the lock was not free in time
_KILL_AFTER = 5  # seconds between the end signal and the kill
_GRACE = 20  # seconds the node gets beyond a deadline before it counts as hung


@dataclass(frozen=True, slots=True)
class Result:
    """How a script ended."""

    status: int
    output: bytes
    errors: bytes

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")

    def reason(self, lines: int = 6) -> str:
        """The last lines of standard error, else of standard output."""
        text = self.errors.decode(errors="replace").strip() or self.text.strip()
        return "\n".join(text.splitlines()[-lines:]) or "it printed nothing"


@dataclass(frozen=True, slots=True)
class Command:
    """A script to run: text, name in the process list, verb, environment, standard input, deadline in seconds."""

    name: str
    body: str
    verb: str = "apply"
    environment: Mapping[str, str] | None = None
    stdin: bytes = b""
    deadline: int = 60
    as_root: bool = True
    lock: str | None = None  # only one command that names the same lock runs on the node at a time
    mark: str = field(default_factory=lambda: secrets.token_hex(16))  # in the environment of all it starts

    @classmethod
    def own(
        cls,
        name: str,
        *,
        stdin: bytes = b"",
        deadline: int = 60,
        environment: Mapping[str, str] | None = None,
        as_root: bool = True,
        lock: str | None = None,
    ) -> Command:
        """One of the provider's own scripts."""
        body = (SCRIPTS / name).read_text(encoding="utf-8")
        return cls(name, body, "run", environment, stdin, deadline, as_root, lock)

    def payload(self, login_key: str = "") -> bytes:
        """What standard input carries: length, environment and script, then the script's own input.

        `login_key` is the public key (base64) that the log-in was let in with; a script that changes who may log in looks at it.
        """
        environment = {"HOST_COMMAND": self.mark, "HOST_LOGIN_KEY": login_key, **(self.environment or {})}
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
        body = (_PREAMBLE + exports + self.audit() + self.body).encode()
        return f"{len(body)}\n".encode() + body + self.stdin

    def audit(self) -> str:
        """A line in the node's own journal for every step that may change it; `journalctl -t host-provider` shows them."""
        if self.lock is None or self.verb == "check":
            return ""
        return f"logger -t host-provider -- {shlex.quote(f'{self.name} {self.verb}')} 2>/dev/null || true\n"

    def line(self, user: str) -> str:
        """The command line: the same for every content, so that sshd and process lists show no secret."""
        words = ["timeout", "-k", str(_KILL_AFTER), str(self.deadline), "bash", "-c", BOOT, self.name, self.verb]
        if self.lock is not None:
            # A killed run's command may still be at work here; it ends by its own deadline.
            lock = ["flock", "-o", "-E", str(_LOCKED), "-w", str(self.deadline), f"/run/lock/host-{self.lock}.lock"]
            words = lock + words
        if self.as_root and user != "root":
            words = ["sudo", "-n", *words]
        return shlex.join(words)


def _open_session(transport: paramiko.Transport) -> paramiko.Channel:
    """A session; where sshd allows fewer at once than we use (MaxSessions), it is asked again for a while."""
    end = time.monotonic() + _GRACE
    while True:
        try:
            return transport.open_session(timeout=_GRACE)
        except (
            paramiko.SSHException
        ):  # not always a ChannelException: two refusals at once lose the second one's reason
            if time.monotonic() > end or not transport.is_active():
                raise
            time.sleep(0.2)


def execute(
    transport: paramiko.Transport, node: str, user: str, command: Command, on_line: Callable[[str], None] | None = None
) -> Result:
    """Run `command` and wait for its end. Blocks; raises ConnectionLost or DeadlineExceeded.

    `on_line` is given the output's lines while they come.
    """
    limit = command.deadline * (2 if command.lock else 1) + _KILL_AFTER + _GRACE
    start = time.monotonic()
    end = start + limit
    output, errors = bytearray(), bytearray()
    try:
        channel = _open_session(transport)
        channel.settimeout(1.0)
        channel.exec_command(command.line(user))
        # A command that ends before it read everything says why on standard error.
        with contextlib.suppress(OSError):
            channel.settimeout(limit)
            channel.sendall(command.payload(getattr(transport, "login_key", "")))
            channel.shutdown_write()
        channel.settimeout(1.0)
        shown = 0
        while True:
            # Asked before reading: output and status may both come right after a silent second.
            over = channel.exit_status_ready()
            try:
                data = channel.recv(65536)
                if not data:
                    break
                output += data
                if on_line is not None and (cut := output.rfind(b"\n")) >= shown:
                    on_line(output[shown:cut].decode(errors="replace"))
                    shown = cut + 1
            except TimeoutError:
                # A program left in the background may hold the output open; the command itself is over.
                if over:
                    break
                if time.monotonic() > end or not transport.is_active():
                    raise
            while channel.recv_stderr_ready():
                errors += channel.recv_stderr(65536)
        while channel.recv_stderr_ready():
            errors += channel.recv_stderr(65536)
        channel.status_event.wait(max(0.0, end - time.monotonic()))
        status = channel.exit_status if channel.exit_status_ready() else -1
        # recv may have ended before the last piece of standard error came.
        with contextlib.suppress(socket.timeout, TimeoutError):
            channel.settimeout(0.0 if status == 0 else 1.0)
            while piece := channel.recv_stderr(65536):
                errors += piece
        channel.close()
    except (paramiko.SSHException, EOFError, OSError) as error:
        if time.monotonic() > end:
            raise ConnectionLost(
                f"{node}: {command.name} gave no answer for {limit} s, {limit - command.deadline} s past its deadline; "
                "the node hangs. Look at the node."
            ) from error
        raise ConnectionLost(
            f"{node}: the connection ended while {command.name} ran; the node may be rebooting."
        ) from error
    if status == -1:
        raise ConnectionLost(f"{node}: the connection ended while {command.name} ran; the node may be rebooting.")
    # The same numbers before the deadline are the command's own (137: the kernel ran out of memory).
    if status in (124, 137) and time.monotonic() - start >= command.deadline:
        raise DeadlineExceeded(
            f"{node}: {command.name} ran past its deadline of {command.deadline} s and was ended with everything it started; "
            f"its last lines: {Result(status, bytes(output), bytes(errors)).reason(3)}"
        )
    if status == _LOCKED and command.lock is not None:
        raise DeadlineExceeded(
            f"{node}: another apply is still at work after {command.deadline} s; only one may change a node at a time. "
            f"Wait for it, or end it on the node (the holder of /run/lock/host-{command.lock}.lock)."
        )
    return Result(status, bytes(output), bytes(errors))
