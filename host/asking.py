"""Questions to the cluster, put to one control plane after another, and how long is waited for another answer."""

from __future__ import annotations

from collections.abc import Sequence

from host.connections import Connections
from host.errors import DeadlineExceeded, Refused, Unreachable
from host.remote import Command
from host.resources import Connection

LOOK_SECONDS = 3.0
"""Between two looks at the same thing."""
AWAY_SECONDS = 60.0
"""A kubelet that was restarted is Ready again well before; a node that is not has died, and nobody waits for it."""


async def first_answer(connections: Connections, peers: Sequence[Connection], command: Command, wanted: str) -> str:
    """What the command printed on the first peer that answers and can. Raises Unreachable, which begins with `wanted`."""
    silent: list[str] = []
    for peer in peers:
        try:
            result = await connections.run(peer, command)
        except (Unreachable, Refused, DeadlineExceeded) as error:
            silent.append(str(error))
            continue
        if not result.status:
            return result.text
        silent.append(f"{peer.node}: {result.reason()}.")
    raise Unreachable(
        f"{wanted}; one that answers and has joined is needed. " + (" ".join(silent) or "The list of peers is empty.")
    )
