"""What a node is, as the program gets it."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from host.connections import Connections
from host.errors import HostError
from host.remote import Command
from host.resources import Connection

# These change by themselves or by what we do (an address of the API, pods' interfaces, swap off, joined): no drift of the
# machine. They are recorded whenever one of the others is.
MOVING = (
    "addresses",
    "bootId",
    "clockOffsetSeconds",
    "joined",
    "listening",
    "python",
    "reachable",
    "rootFreeGib",
    "swap",
)
_MEASURED = ("memoryMib", "rootDiskGib")  # what the kernel keeps for itself differs a little from boot to boot
_TOLERANCE = 0.05
_MANY = ("address", "swap", "gpu", "hostKey", "listening")


async def read_facts(connections: Connections, node: Connection) -> dict[str, Any]:
    """Read the node. Sizes in MiB and GiB; the clock's offset in seconds, positive when the node's clock is ahead
    (what the time of the question itself may explain is left out).
    """
    begin = time.time()
    result = await connections.run(node, Command.own("read_facts.sh", as_root=False, deadline=30))
    end = time.time()
    if result.status:
        raise HostError(
            f"{node.node}: reading facts failed (exit {result.status}): {result.reason()}; a node must run bash and coreutils. "
            "Install them or correct the address."
        )
    one: dict[str, str] = {"interface": ""}
    many: dict[str, list[str]] = defaultdict(list)
    for line in result.text.splitlines():
        key, _, value = line.partition("\t")
        if key == "address":
            value, _, interface = value.partition(" ")
            if value == node.address:
                one["interface"] = interface
        if key in _MANY:
            many[key].append(value)
        else:
            one[key] = value
    # The node read its clock somewhere between our two looks: only what lies outside of them is an offset for certain.
    clock = float(one["clock"])
    offset = min(0.0, clock - begin) + max(0.0, clock - end)
    return {
        "hostname": one["hostname"],
        "machineId": one["machineId"],
        "os": {
            "id": one.get("osId", ""),
            "versionId": one.get("osVersionId", ""),
            "codename": one.get("osCodename", ""),
        },
        "kernel": one["kernel"],
        "architecture": one["architecture"],
        "cpus": int(one["cpus"]),
        "memoryMib": int(one["memoryMib"]),
        "rootDiskGib": round(int(one.get("rootDiskKib", 0)) / 1024**2, 1),
        "rootFreeGib": round(int(one.get("rootFreeKib", 0)) / 1024**2, 1),
        "cgroupVersion": int(one["cgroupVersion"]),
        "clockOffsetSeconds": round(offset, 2),
        "addresses": sorted(set(many["address"])),
        "interface": one["interface"],
        "swap": sorted(set(many["swap"])),
        "gpus": many["gpu"],
        "secureBoot": one["secureBoot"],
        "listening": sorted({int(port) for port in many["listening"]}),
        "hostKeys": sorted(many["hostKey"]),
        "python": one["python"],
        "sudo": one["sudo"] == "yes",
        "joined": one["joined"] == "yes",
        "bootId": one["bootId"],
        "reachable": True,
    }


def changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The keys of lasting facts that differ."""
    return sorted(key for key, value in now.items() if key not in MOVING and not _same(key, before.get(key), value))


def _same(key: str, before: Any, now: Any) -> bool:
    if key in _MEASURED and isinstance(before, (int, float)):
        return bool(abs(now - before) <= _TOLERANCE * before)
    return bool(before == now)
