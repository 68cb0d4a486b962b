"""Writes docs/open-ports.md from the packet filter's own table: `python -m components.hosts.open_ports > docs/open-ports.md`."""

from __future__ import annotations

from typing import Any

from components.hosts.openings import Source, openings
from components.settings import Role, Settings
from components.settings.parse import parse

INTRODUCTION = """\
# Open ports

Generated from `components/hosts/openings.py` by `make docs`; do not edit.

What a node lets in where the settings are the defaults, by its role. The numbers follow `ssh.port` and `kubernetes.apiPort`;
`firewall.extraPorts` opens further ones. Everything else is dropped, but answers to what the node itself asked, ICMP, DHCP and
what it sends to itself. [How it comes into force](security.md#packet-filter-of-the-nodes) without locking anybody out.

Nodes are in `firewall.nodeNetworks`; without it in the /24 around each private address, or at each public one. The filter sees
only what is for the node itself. What is for pods (the gateway's addresses, Services) is forwarded, and not its business."""
WORDS = {
    Source.OPERATORS: "`firewall.operatorNetworks`; anywhere if not set",
    Source.API_CLIENTS: "`firewall.operatorNetworks` and `firewall.apiNetworks`; anywhere if the former is not set",
    Source.NODES: "nodes",
    Source.PODS: "pods",
    Source.READERS: "readers and the writer of the model store",
}
EXAMPLE: dict[str, Any] = {
    "nodes": [
        *({"name": f"m{n}", "address": f"192.168.1.{n}", "role": "control-plane"} for n in (1, 2, 3)),
        *({"name": f"w{n}", "address": f"192.168.1.{n}", "role": "worker", "gpus": 1} for n in (4, 5)),
        {"name": "s6", "address": "192.168.1.6", "role": "storage"},
    ],
    "ssh": {"knownHosts": "known_hosts"},
    "kubernetes": {"apiAddress": "192.168.1.9"},
    "loadBalancer": {"addresses": ["192.168.1.200-192.168.1.220"]},
}


def document(settings: Settings) -> str:
    """The page: for each role what its first node lets in."""
    tables = []
    for role in Role:
        rows = [
            f"| {row.protocol} | {', '.join(map(str, row.ports))} | {row.purpose} | {WORDS[row.source]} |"
            for row in openings(settings, settings.by_role(role)[0])
        ]
        head = ["| protocol | port | for | from |", "| --- | --- | --- | --- |"]
        tables.append("\n".join([f"## {role.value}", "", *head, *rows]))
    return "\n\n".join([INTRODUCTION, *tables]) + "\n"


if __name__ == "__main__":
    print(document(parse(EXAMPLE)), end="")
