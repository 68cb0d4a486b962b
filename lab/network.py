"""The lab's bridge, and the cable of each node (its interface on this machine)."""

from ipaddress import IPv4Address
from pathlib import Path

from lab.machine import LabError, run
from lab.topology import Topology

INTERFACES = Path("/sys/class/net")
IFF_UP = 0x1


def exists(interface: str) -> bool:
    return (INTERFACES / interface).exists()


def is_up(interface: str) -> bool:
    try:
        return bool(int((INTERFACES / interface / "flags").read_text(), 16) & IFF_UP)
    except OSError:
        return False


def hardware_address(address: IPv4Address) -> str:
    """A MAC that stays with the address, as a network card's does, so that no neighbour's cache goes stale."""
    return "02:71:" + ":".join(f"{octet:02x}" for octet in address.packed)


def ensure_bridge(topology: Topology) -> bool:
    """Make the bridge with the gateway's address; True when something was missing."""
    bridge = topology.bridge
    changed = False
    address = hardware_address(topology.gateway.ip)
    if not exists(bridge):
        check_free(topology)
        run("ip", "link", "add", bridge, "address", address, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        changed = True
    elif (INTERFACES / bridge / "address").read_text().strip() != address:
        # Left to itself a bridge takes the lowest address among its ports: the gateway would move with every node.
        run("ip", "link", "set", bridge, "address", address)
        changed = True
    if str(topology.gateway) not in run("ip", "-br", "-4", "address", "show", "dev", bridge).stdout.split():
        run("ip", "address", "replace", str(topology.gateway), "dev", bridge)
        changed = True
    if not is_up(bridge):
        run("ip", "link", "set", bridge, "up")
        changed = True
    return changed


def check_free(topology: Topology) -> None:
    """Raise LabError when this machine already has a route into the lab's network: packets would go astray."""
    network = str(topology.gateway.network)
    routes = [line for line in run("ip", "-4", "route", "show", "root", network).stdout.splitlines() if line.strip()]
    if routes:
        raise LabError(
            f"lab {topology.name}: {network} is already routed here ({routes[0].strip()})."
            " Remove that route, or give the lab another network in its topology file"
        )


def remove_bridge(topology: Topology) -> None:
    """Remove the bridge and every interface with the lab's name."""
    for path in INTERFACES.glob(f"{topology.veth('')}*"):
        run("ip", "link", "delete", path.name, check=False)
    if exists(topology.bridge):
        run("ip", "link", "delete", topology.bridge)


def connected(topology: Topology, interface: str) -> bool:
    """Whether a node's cable is plugged in at both ends: up, and a port of the lab's bridge."""
    return is_up(interface) and (INTERFACES / topology.bridge / "brif" / interface).exists()


def cut(interface: str) -> None:
    """Pull the cable: the node sees its carrier go, the others see silence."""
    run("ip", "link", "set", interface, "down")


def heal(topology: Topology, interface: str) -> None:
    run("ip", "link", "set", interface, "master", topology.bridge, "up")
