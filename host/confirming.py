"""A change that may cut a node off lasts only once a new connection has come through."""

from __future__ import annotations

from host.checkout import Texts
from host.connections import Connections
from host.desired import WantedScript
from host.errors import ConnectionLost, HostError
from host.resources import Connection

_RULE = "what may cut a node off is kept only if a new connection comes through"
_ITSELF = "The node cannot be asked and takes the change back by itself, within minutes."
_REMEDY = "Correct the settings that let people in, then run again."


async def confirm(connections: Connections, texts: Texts, node: Connection, script: WantedScript, seconds: int) -> None:
    """Dial the node anew and let the script make its change last; else have it taken back and say so.

    Raises HostError if it was or will be taken back, ConnectionLost if nobody knows: then everything is looked at again.
    """
    try:
        result = await connections.run_anew(node, texts.command(script, "confirm", lock=node.node), seconds)
    except ConnectionLost:
        raise
    except HostError as error:
        why = str(error).removeprefix(f"{node.node}: ").partition(";")[0]
        found = f"nobody came through within {seconds} s after {script.path} ({why}); {_RULE}"
    else:
        if result.status == 0:
            return
        found = f"{script.path} could not be confirmed (exit {result.status}): {result.reason()}; {_RULE}"
    raise HostError(f"{node.node}: {found}. {await _take_back(connections, texts, node, script)} {_REMEDY}")


async def _take_back(connections: Connections, texts: Texts, node: Connection, script: WantedScript) -> str:
    """Over the connection that was there before, if it still carries anything. Returns what became of the change."""
    try:
        result = await connections.run(node, texts.command(script, "revert", lock=node.node))
    except HostError:
        return _ITSELF
    if result.status:
        return f"It could not be taken back ({result.reason(2)}); the node tries again by itself, within minutes."
    return "The change was taken back."


def cut_off(node: Connection, script: WantedScript) -> HostError:
    """The connection ended while the change was made. Trying again would do the same again."""
    return HostError(f"{node.node}: the connection ended in the middle of {script.path}; {_RULE}. {_ITSELF} {_REMEDY}")
