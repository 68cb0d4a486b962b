"""One dial: connect, verify the host's key, then log in. Exactly one attempt, and a reason when it fails."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from host.errors import KeyRefused, Refused, Unreachable
from host.identity import Identity
from host.known_hosts import HostKey, KnownHosts, lookup_name, parse_key
from host.resources import Connection

_KEX = ("curve25519-sha256@libssh.org", "curve25519-sha256")
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
# A node that took the connection is alive; under load its sshd may need a while for the log-in.
_LOG_IN_FACTOR = 4
# sshd closes or paramiko gives up: no verdict on the key.
_NO_VERDICT = ("timeout", "shut down", "eof")


class Transport(paramiko.Transport):
    """A connection, and the public key (base64) that the node has let us in with."""

    login_key = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all connections of a run share. Times in seconds."""

    identity: Identity | None  # None: nothing is ever dialled
    known_hosts: KnownHosts
    jump: Connection | None = None
    connect_timeout: float = 5.0
    reboot_timeout: float = 600.0

    @property
    def log_in_timeout(self) -> float:
        return self.connect_timeout * _LOG_IN_FACTOR


def expected_keys(node: Connection, known_hosts: KnownHosts) -> list[HostKey]:
    """The keys this node may show; refuses before any dial when there is none to compare with."""
    if node.host_keys:
        try:
            return [parse_key(text) for text in node.host_keys]
        except ValueError as error:
            raise Refused(
                f"{node.node}: a host key of hostKeys {error}; host keys are always verified. "
                "Give lines like `ssh-ed25519 AAAA...`."
            ) from error
    keys = known_hosts.find(node.address, node.port)
    if keys:
        return keys
    raise Refused(
        f"{node.node}: no host key is known for {lookup_name(node.address, node.port)}; host keys are always verified. "
        f"Run `ssh-keyscan -p {node.port} {node.address}`, compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` "
        f"on the node's console, then add the line to {known_hosts.path or 'ssh.knownHosts'}."
    )


async def connect(node: Connection, settings: Settings) -> socket.socket:
    """A TCP connection. Raises Unreachable after the connect timeout at most."""
    timeout = settings.connect_timeout
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(timeout):
            loop = asyncio.get_running_loop()
            infos = await loop.getaddrinfo(node.address, node.port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = infos[0]
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            _tune(sock)
            return sock
    except (OSError, TimeoutError) as error:
        if sock is not None:
            sock.close()
        why = _reason(error) if isinstance(error, OSError) and error.errno else f"no answer within {timeout:g} s"
        raise Unreachable(
            f"{node.node}: cannot connect to {_target(node)}: {why}; the node must be reachable over SSH. "
            "Check that it is powered on, its address and the network."
        ) from error


def through(bastion: paramiko.Transport, node: Connection, settings: Settings) -> paramiko.Channel:
    """A connection made by the bastion. Blocks; raises Unreachable."""
    try:
        return bastion.open_channel(
            "direct-tcpip", (node.address, node.port), ("127.0.0.1", 0), timeout=settings.connect_timeout
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        name = settings.jump.address if settings.jump else "?"
        raise Unreachable(
            f"{node.node}: the bastion {name} cannot connect to {_target(node)} ({_reason(error)}); the node must be "
            "reachable from it. Check that it is powered on and that the bastion allows TCP forwarding."
        ) from error


def log_in(
    sock: socket.socket | paramiko.Channel, node: Connection, expected: Sequence[HostKey], settings: Settings
) -> Transport:
    """Key exchange, host key, then user authentication: nothing of ours is sent before the host key matched. Blocks."""
    transport = Transport(sock)
    try:
        _exchange_keys(transport, node, expected, settings.log_in_timeout)
        shown = transport.get_remote_server_key()
        if all(key.blob != shown.asbytes() for key in expected):
            known = ", ".join(key.fingerprint for key in expected)
            raise Refused(
                f"{node.node}: {_target(node)} shows host key {shown.get_name()} {shown.fingerprint}, known is {known}; "
                "nothing was sent to it. If the node was rebuilt, replace its known key; else find out who answers there."
            )
        transport.auth_timeout = settings.log_in_timeout
        authenticate(transport, node, settings)
        transport.set_keepalive(15)
        # paramiko wakes ten times a second per connection to see whether it was closed; once in five will do.
        transport.sock.settimeout(5.0)
        return transport
    except BaseException:
        transport.close()
        raise


def _exchange_keys(transport: paramiko.Transport, node: Connection, expected: Sequence[HostKey], limit: float) -> None:
    options = transport.get_security_options()
    options.kex = [kex for kex in _KEX if kex in options.kex] + [kex for kex in options.kex if kex not in _KEX]
    options.key_types = _algorithms(expected, options.key_types)
    transport.banner_timeout = transport.handshake_timeout = limit
    try:
        transport.start_client(timeout=limit)
        # It returns without a word when its time is over.
        if not transport.is_active() or not transport.initial_kex_done:
            raise EOFError("no key exchange")
    except IncompatiblePeer as error:
        types = ", ".join(sorted({key.type for key in expected}))
        raise Refused(
            f"{node.node}: {_target(node)} offers no host key of a known type ({types}) or no common algorithm; host keys are "
            "always verified. If the node was rebuilt, replace its known key; else find out who answers there."
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Unreachable(
            f"{node.node}: {_target(node)} accepts connections but does not speak SSH within {limit:g} s ({_reason(error)}); "
            "an SSH server must answer there. Check the node and the port."
        ) from error


def authenticate(transport: Transport, node: Connection, settings: Settings) -> None:
    """Offer our keys. Raises KeyRefused only when sshd said no; a log-in that ends otherwise is Unreachable."""
    identity, tried = settings.identity, list[str]()
    assert identity is not None  # noqa: S101 - only `contact: never` has none, and that never dials
    for key in identity.candidates():
        try:
            transport.auth_publickey(node.user, key)
            transport.login_key = key.get_base64()
            return
        except (paramiko.SSHException, EOFError, OSError) as error:
            said_no = isinstance(error, paramiko.AuthenticationException)
            if said_no and not any(word in str(error).lower() for word in _NO_VERDICT):
                tried.append(key.fingerprint)
                continue
            if tried:  # sshd ends the connection after its MaxAuthTries
                break
            raise Unreachable(
                f"{node.node}: {_target(node)} did not finish the log-in in {settings.log_in_timeout:g} s ({_reason(error)}); "
                "the node must accept the log-in. Look at its load and its sshd log."
            ) from error
    raise KeyRefused(
        f"{node.node}: {_target(node)} refused user {node.user} with {', '.join(tried)} (from the {identity.source}); nodes are "
        f"logged in to by key. Add the public key to the authorized_keys of {node.user}, or set the right key or user."
    )


def _tune(sock: socket.socket) -> None:
    """No waiting for full packets (45 ms a command otherwise), and notice a peer that is gone within half a minute."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)


def _algorithms(expected: Sequence[HostKey], supported: Sequence[str]) -> list[str]:
    """The host key algorithms to ask for: only those of keys we can compare with, ed25519 first."""
    types = {key.type for key in expected}
    wanted = {name for kind in types for name in (_RSA if kind == "ssh-rsa" else (kind,))}
    return [name for name in supported if name in wanted] or list(supported)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error).strip().rstrip(".").lower() or type(error).__name__


def _target(node: Connection) -> str:
    return f"{node.address}:{node.port}"
