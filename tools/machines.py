"""A stack's machines as the command-line tools reach them: from the plain settings, as the program reaches them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from components.settings import Node, Settings
from components.settings.stack_file import may_hold
from host.connections import Connections
from host.provider import settings_from
from host.resources import Connection

ROOT = Path(__file__).resolve().parent.parent


class Machines:
    """Connections of one run, and the way to each node. Raises HostError for a key or known_hosts that cannot be used."""

    def __init__(self, settings: Settings, private_key: str | None) -> None:
        ssh = settings.ssh
        self.connections = Connections(
            settings_from(
                {
                    "privateKey": private_key,
                    "privateKeyFile": ssh.private_key_file,
                    "knownHosts": ssh.known_hosts,
                    "jump": ssh.jump.model_dump(by_alias=True, mode="json") if ssh.jump else None,
                    "connectTimeoutSeconds": ssh.connect_timeout_seconds,
                },
                contact=True,
            )
        )
        self.ways = {node.name: way(settings, node) for node in settings.nodes}


def way(settings: Settings, node: Node) -> Connection:
    return Connection(
        node=node.name,
        address=str(node.address),
        port=node.port or settings.ssh.port,
        user=node.user or settings.ssh.user,
        host_keys=node.host_keys,
    )


def login_key(stack: str) -> str | None:
    """The stack's secret `sshPrivateKey`; without one its key file or an agent is used, and the engine is not asked."""
    return asked("config", "get", "sshPrivateKey") if may_hold("sshPrivateKey", stack) else None


def asked(*command: str, within: float | None = None) -> str | None:
    """What the engine answers about the stack; None if it has nothing to say, or not `within` so many seconds."""
    try:
        done = subprocess.run(
            [str(ROOT / "tools" / "engine"), *command], capture_output=True, text=True, timeout=within
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 and done.stdout.strip() else None
