"""How far a DaemonSet's roll-out is, as a control plane sees it; nodes that are away hold up nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from host import asking
from host.connections import Connections
from host.errors import Unreachable
from host.messages import Reporter
from host.remote import Command
from host.resources import Connection

_NAMED = 5  # nodes in a message


@dataclass(frozen=True, slots=True)
class Progress:
    """One look. `wanted` is how many nodes get a pod, None while the newest DaemonSet has not been seen by its controller."""

    wanted: int | None
    done: frozenset[str] = frozenset()  # nodes whose pod is the newest and ready
    waiting: frozenset[str] = frozenset()  # nodes that are Ready and whose pod is not so yet
    away: frozenset[str] = frozenset()  # nodes that are not Ready

    @property
    def complete(self) -> bool:
        """Every node has what it is to have, but those that are away."""
        return self.wanted is not None and not self.waiting and len(self.done | self.away) >= self.wanted

    def __str__(self) -> str:
        if self.wanted is None:
            return "not begun"
        missing = f", waiting for {named(self.waiting)}" if self.waiting else ""
        return f"{len(self.done)} of {self.wanted} nodes{missing}"


def named(nodes: frozenset[str]) -> str:
    rest = len(nodes) - _NAMED
    return ", ".join(sorted(nodes)[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def parse(text: str) -> Progress:
    """What read_daemons.sh printed. A node may have two pods for a moment: the old one on its way out, and the new one."""
    wanted, done, waiting, away = None, set(), set(), set()
    for line in text.splitlines():
        node, node_ready, pod_ready, current = [*line.split("\t"), "", "", "", ""][:4]
        if node == "wanted":
            wanted = int(node_ready) if node_ready else None
        elif node_ready != "True":
            away.add(node)
        elif (pod_ready, current) == ("True", "True"):
            done.add(node)
        else:
            waiting.add(node)
    return Progress(wanted, frozenset(done), frozenset(waiting - done), frozenset(away - done))


async def look(connections: Connections, peers: Sequence[Connection], namespace: str, name: str) -> Progress:
    """From the first peer that answers. Raises Unreachable if none does."""
    command = Command.own("read_daemons.sh", deadline=60, environment={"namespace": namespace, "daemon_set": name})
    wanted = f"{namespace}/{name}: no control plane could tell how far it is"
    return parse(await asking.first_answer(connections, peers, command, wanted))


async def wait_for(
    connections: Connections,
    peers: Sequence[Connection],
    daemon_set: tuple[str, str],
    deadline: float,
    report: Reporter,
) -> Progress:
    """Look until the roll-out (namespace, name) is complete; returns the last look.

    At most `deadline` seconds; for nodes that do not report, a minute only. Control planes that cannot be asked for a moment
    are asked again within that minute. Raises Unreachable after it.
    """
    begun = heard = time.monotonic()
    while True:
        try:
            seen = await look(connections, peers, *daemon_set)
        except Unreachable:
            if time.monotonic() - heard > min(asking.AWAY_SECONDS, deadline):
                raise
        else:
            heard = time.monotonic()
            passed = heard - begun
            given_up = not seen.away or passed > min(asking.AWAY_SECONDS, deadline)
            if (seen.complete and given_up) or passed > deadline:
                return seen
            report.status(f"rolling out ({passed:.0f} s): {seen}")
        await asyncio.sleep(asking.LOOK_SECONDS)
