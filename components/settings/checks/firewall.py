"""The packet filter against the nodes and the way to them: who would be shut out."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from components.settings import Settings
from components.settings.problem import Problem

OPERATORS = "firewall.operatorNetworks"


def nodes_inside(settings: Settings) -> Iterator[Problem]:
    """Nodes that the others would not let in."""
    named = settings.firewall.node_networks
    outside = [node for node in settings.nodes if named and not any(node.address in network for network in named)]
    if settings.firewall.enabled and outside:
        rest = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        found = f"{outside[0].address} of `{outside[0].name}`{rest} lies in none of them"
        rule = "nodes let each other in by these networks"
        yield Problem("firewall.nodeNetworks", found, rule, "Add its network, or remove the key")


def bastion_inside(settings: Settings) -> Iterator[Problem]:
    """A bastion that is given by its address. One given by name is found out when the filter is confirmed."""
    networks, jump = settings.firewall.operator_networks, settings.ssh.jump
    if not settings.firewall.enabled or not networks or jump is None:
        return
    try:
        address = IPv4Address(jump.address)
    except ValueError:
        return
    if not any(address in network for network in networks):
        found = f"{address} of ssh.jump lies in none of them"
        yield Problem(OPERATORS, found, "nodes see the bastion, and nobody else may use SSH", f"Add `{address}/32`")
