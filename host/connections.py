"""One verified SSH connection per node and run: dialled once, shared by all resources of the node, kept open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import paramiko

from host.dialling import Settings, connect, expected_keys, log_in, through
from host.errors import ConnectionLost, DeadlineExceeded, HostError, KeyRefused, Refused, Unreachable
from host.remote import Command, Result, execute
from host.resources import Connection

# It would log to our standard error, which the engine shows.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

T = TypeVar("T")
Say = Callable[[str], None]

# Key exchange is pure CPU on our side: more at once only takes turns on the interpreter's lock (8 were fastest on 2
# cores, 50 took twice as long), and sshd drops dials beyond its MaxStartups of 10.
DIALS = 8
# Answers to decode at once; for the same reason. Nodes that take longer than _PATIENCE hold nobody up.
COMMANDS = 32
# Seconds: a node that is dead or busy must not hold a turn; after this time it waits outside.
_PATIENCE = 0.3
# sshd allows 10 sessions on a connection; the operator's own tools may share it through the same limits.
SESSIONS = 4
_RETRY_SECONDS = 2.0
_NO_SUDO = re.compile(rb"sudo: .*(required|not allowed|not found|sudoers)|is not in the sudoers|may not run sudo")


@dataclass
class _Place:
    """What is known about one node in this run."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    sessions: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SESSIONS))
    applying: asyncio.Lock = field(default_factory=asyncio.Lock)
    transport: paramiko.Transport | None = None
    failure: HostError | None = None  # remembered: the node's other resources are answered at once
    waiting: Unreachable | None = None  # an apply waits for the node to come back
    reached: bool = False


class Connections:
    """All connections of one run. Blocking work runs in threads; waiting for a turn holds none."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self._places: dict[tuple[str, str, int, str], _Place] = {}
        self._dials = asyncio.Semaphore(DIALS)
        self._commands = asyncio.Semaphore(COMMANDS)
        self._threads = ThreadPoolExecutor(max_workers=512, thread_name_prefix="host")

    def place(self, node: Connection) -> _Place:
        return self._places.setdefault((node.node, node.address, node.port, node.user), _Place())

    async def run(
        self,
        node: Connection,
        command: Command,
        *,
        wait: bool = False,
        say: Say | None = None,
        on_line: Say | None = None,
    ) -> Result:
        """Run `command` on `node`. With `wait`, a node that was reached before in this run may take the reboot time.

        Raises Unreachable, Refused, ConnectionLost or DeadlineExceeded. A command is never repeated here.
        """
        place = self.place(node)
        transport = await self._connected(node, place, wait, say)
        async with place.sessions:
            try:
                work = partial(execute, transport, node.node, node.user, command, on_line)
                async with self._commands:
                    running = asyncio.ensure_future(self._in_thread(work))
                    await asyncio.wait({running}, timeout=_PATIENCE)
                result = await running
            except ConnectionLost:
                transport.close()
                if place.transport is transport:
                    place.transport = None
                raise
            except DeadlineExceeded:
                await self._end_started(transport, node, command)
                raise
        if command.as_root and node.user != "root" and result.status and _NO_SUDO.search(result.errors):
            raise Refused(
                f"{node.node}: user {node.user} may not run sudo without a password ({result.reason(1)}); "
                f"work on a node is done as root. Log in as root or add `{node.user} ALL=(ALL) NOPASSWD: ALL` to sudoers."
            )
        return result

    async def run_anew(self, node: Connection, command: Command, seconds: float) -> Result:
        """Run `command` over a connection of its own, dialled again and again for `seconds`; the shared one stays as it is.

        Raises as `run` does.
        """
        transport = await self._dial_until(node, time.monotonic() + seconds, lambda *_: None)
        try:
            return await self._in_thread(partial(execute, transport, node.node, node.user, command))
        finally:
            transport.close()

    async def _end_started(self, transport: paramiko.Transport, node: Connection, command: Command) -> None:
        """`timeout` ended the command's process group; this ends what left that group."""
        end = Command.own("end_started.sh", stdin=f"{command.mark}\n".encode(), deadline=20, as_root=command.as_root)
        with contextlib.suppress(HostError):
            await self._in_thread(partial(execute, transport, node.node, node.user, end))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _connected(self, node: Connection, place: _Place, wait: bool, say: Say | None) -> paramiko.Transport:
        if place.waiting is not None and not wait:
            raise place.waiting
        async with place.lock:
            if place.transport is not None and place.transport.is_active():
                return place.transport
            if place.failure is not None:
                raise place.failure
            patient = wait and place.reached
            try:
                place.transport = await self._come_back(node, place, say) if patient else await self._dial(node)
            except HostError as error:
                # A node that was there and is asked in passing may be rebooting: that is not its last word.
                if patient or not place.reached:
                    place.failure = error
                raise
            finally:
                place.waiting = None
            place.reached = True
            return place.transport

    async def _come_back(self, node: Connection, place: _Place, say: Say | None) -> paramiko.Transport:
        """Dial until the node answers or the reboot time is over."""

        def waiting(error: HostError, left: float) -> None:
            place.waiting = error if isinstance(error, Unreachable) else place.waiting
            if say is not None:
                say(f"waiting for {node.node} to come back ({left:.0f} s left)")

        return await self._dial_until(node, time.monotonic() + self.settings.reboot_timeout, waiting)

    async def _dial_until(
        self, node: Connection, end: float, waiting: Callable[[HostError, float], None]
    ) -> paramiko.Transport:
        """Dial until somebody answers whom we may talk to, or the clock shows `end`; `waiting` hears why and how long still."""
        while True:
            try:
                return await self._dial(node)
            except (Unreachable, KeyRefused) as error:  # a node that starts refuses all but root for a moment
                left = end - time.monotonic()
                if left <= 0 or self.stopping.is_set():
                    raise
                waiting(error, left)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), min(left, _RETRY_SECONDS))

    async def _dial(self, node: Connection) -> paramiko.Transport:
        expected = expected_keys(node, self.settings.known_hosts)
        jump = self.settings.jump
        sock: socket.socket | paramiko.Channel
        if jump is not None and node is not jump:
            bastion = await self._connected(jump, self.place(jump), False, None)
            sock = await self._in_thread(partial(through, bastion, node, self.settings))
            async with self._dials:
                return await self._in_thread(partial(log_in, sock, node, expected, self.settings))
        async with self._dials:
            connecting = asyncio.ensure_future(connect(node, self.settings))
            await asyncio.wait({connecting}, timeout=_PATIENCE)
            if connecting.done():
                return await self._in_thread(partial(log_in, connecting.result(), node, expected, self.settings))
        sock = await connecting
        async with self._dials:
            return await self._in_thread(partial(log_in, sock, node, expected, self.settings))

    async def stop(self) -> None:
        """Give up waiting for nodes; commands that run are left to their end."""
        self.stopping.set()

    async def finish(self) -> None:
        """Begin nothing new; return when the commands that run have come to their end, by themselves or by their deadlines."""
        await self.stop()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
