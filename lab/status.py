"""What a lab looks like now, for people and for programs."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lab import mirror_service, network
from lab.node import Machine
from lab.store import Store


def collect(store: Store) -> dict[str, Any]:
    """The lab as data: every node's power, systemd state, ssh answer and cable; the bridge and the mirror."""
    nodes = store.members().nodes(store.topology) if store.exists() else ()
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda node: _node(Machine(store, node)), nodes))
    return {
        "lab": store.topology.name,
        "up": store.exists(),
        "bridge": network.is_up(store.topology.bridge),
        "mirror": store.exists() and mirror_service.serving(store),
        "nodes": rows,
    }


def _node(machine: Machine) -> dict[str, Any]:
    running = machine.running()
    return {
        **machine.node.as_dict(),
        "running": running,
        "system": machine.system_state() if running else "off",
        "booted": running and machine.answers(),
        "cut": running and not network.connected(machine.store.topology, machine.interface),
    }


def table(status: dict[str, Any]) -> str:
    if not status["up"]:
        return f"lab {status['lab']}: down"
    rows = [("NODE", "ROLE", "ADDRESS", "GPUS", "SYSTEM", "SSH", "NETWORK")]
    for node in status["nodes"]:
        cable = "-" if not node["running"] else "cut" if node["cut"] else "connected"
        answer = "answers" if node["booted"] else "silent"
        rows.append((
            node["name"], node["role"], node["address"], str(node["gpus"]), node["system"], answer, cable,
        ))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    mirror = "serves" if status["mirror"] else "does not serve"
    bridge = "up" if status["bridge"] else "missing"
    return "\n".join([f"lab {status['lab']}: bridge {bridge}, mirror {mirror}", *lines])
