"""How to reach each node, from the settings alone."""

from __future__ import annotations

from collections.abc import Iterable

from components.settings import Node, Ssh
from host.resources import Connection


def connection(node: Node, ssh: Ssh) -> Connection:
    """The node's own login where it names one, the stack's otherwise."""
    return Connection(
        node=node.name,
        address=str(node.address),
        port=node.port or ssh.port,
        user=node.user or ssh.user,
        host_keys=node.host_keys,
    )


def connections(nodes: Iterable[Node], ssh: Ssh) -> dict[str, Connection]:
    """Node name -> connection."""
    return {node.name: connection(node, ssh) for node in nodes}
