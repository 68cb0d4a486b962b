"""Taking a concern off a node: its removal scripts in order, on the node or on a peer. What is away is skipped and said."""

from __future__ import annotations

from host.applying import Applier, explain
from host.desired import Desired, WantedScript
from host.errors import HostError, Refused, Unreachable
from host.messages import Reporter


async def remove(applier: Applier, desired: Desired, report: Reporter) -> None:
    """Run the removal scripts. A step that fails on a node that answers stops it, and the next run begins again.

    A node that cannot be trusted (its host key is gone from known_hosts, or its address is another machine's now) is left alone
    like one that is off, but only once a peer took our key: a wrong key of ours must not pass for nodes that are gone.
    """
    peer_answered = False
    for script in desired.removal:
        report.status(f"{script.name} on {'a peer' if script.on == 'peer' else desired.connection.node}")
        try:
            await _step(applier, desired, script, report)
            peer_answered = peer_answered or script.on == "peer"
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and not peer_answered:
                raise
            where = "a peer" if script.on == "peer" else "the node"
            report.warning(f"{error} Skipped {script.name} on {where}.")


async def _step(applier: Applier, desired: Desired, script: WantedScript, report: Reporter) -> None:
    if script.on == "peer":
        stdin = applier.texts.get(script.stdin, script.path) if script.stdin else b""
        where, result = await applier.on_peer(desired, script.path, script, stdin)
    else:
        where = desired.connection
        command = applier.texts.command(script, "apply", lock=where.node)
        result = await applier.connections.run(where, command, say=report.status, on_line=report.status)
    if result.status:
        raise HostError(f"{where.node}: {script.path} failed (exit {result.status}): {explain(result)}")
