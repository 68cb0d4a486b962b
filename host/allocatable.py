"""What nodes can give to pods, as a control plane sees it. One look serves all nodes that ask at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from host import asking
from host.connections import Connections
from host.errors import Unreachable
from host.messages import Reporter
from host.remote import Command
from host.resources import Connection


@dataclass(frozen=True, slots=True)
class Seen:
    """One node: whether its kubelet reports, and how much it has."""

    ready: bool = False
    member: bool = False
    amount: int = 0

    def __str__(self) -> str:
        return str(self.amount) if self.ready else "the node is not ready" if self.member else "not in the cluster"


@dataclass
class Lookout:
    """Looks at the nodes of one run, by resource; a look counts for `asking.LOOK_SECONDS`."""

    _latest: dict[str, tuple[float, dict[str, Seen]]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self, connections: Connections, peers: Sequence[Connection], resource: str) -> dict[str, Seen]:
        """By node name, from the first peer that answers. Raises Unreachable if none does."""
        async with self._lock:
            when, seen = self._latest.get(resource, (-asking.LOOK_SECONDS, {}))
            if time.monotonic() - when >= asking.LOOK_SECONDS:
                seen = await _ask(connections, peers, resource)
                self._latest[resource] = (time.monotonic(), seen)
            return seen

    async def wait_for(
        self,
        connections: Connections,
        peers: Sequence[Connection],
        need: tuple[str, str, int],
        deadline: float,
        report: Reporter,
    ) -> Seen:
        """Look until the node has as much of the resource as is needed (node, resource, amount); returns the last look.

        At most `deadline` seconds; for a node that does not report, a minute only. Control planes that cannot be asked for a
        moment are asked again within that minute. Raises Unreachable after it.
        """
        node, resource, amount = need
        begun = time.monotonic()
        while True:
            passed = time.monotonic() - begun
            try:
                seen = (await self.look(connections, peers, resource)).get(node, Seen())
            except Unreachable:
                if passed > min(asking.AWAY_SECONDS, deadline):
                    raise
            else:
                limit = deadline if seen.ready else min(asking.AWAY_SECONDS, deadline)
                if (seen.ready and seen.amount >= amount) or passed > limit:
                    return seen
                report.status(f"waiting for {amount} {resource} ({passed:.0f} s): {seen}")
            await asyncio.sleep(asking.LOOK_SECONDS)


async def _ask(connections: Connections, peers: Sequence[Connection], resource: str) -> dict[str, Seen]:
    command = Command.own("read_allocatable.sh", deadline=30, environment={"resource": resource})
    wanted = f"{resource}: no control plane could tell what the nodes have"
    return parse(await asking.first_answer(connections, peers, command, wanted))


def parse(text: str) -> dict[str, Seen]:
    """What read_allocatable.sh printed."""
    found = {}
    for line in text.splitlines():
        name, ready, amount = [*line.split("\t"), "", ""][:3]
        found[name] = Seen(ready == "True", True, int(amount or 0))
    return found
