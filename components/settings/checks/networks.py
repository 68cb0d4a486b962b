"""Networks and address ranges against each other and against the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from itertools import combinations

from components.settings import Node, Role, Settings
from components.settings.problem import Problem
from components.settings.syntax import address_range, networks

NODE_PREFIX = 24  # kubeadm's node-cidr-mask-size and Flannel's SubnetLen
SERVICE_PREFIXES = (12, 28)  # kube-apiserver takes no larger network, kubeadm no smaller one

OVERLAP = "networks of pods, services, nodes and load balancer must not overlap"


def _subnets(settings: Settings) -> dict[str, IPv4Network]:
    return {
        "kubernetes.podSubnet": settings.kubernetes.pod_subnet,
        "kubernetes.serviceSubnet": settings.kubernetes.service_subnet,
    }


def subnets(settings: Settings) -> Iterator[Problem]:
    pods, services = settings.kubernetes.pod_subnet, settings.kubernetes.service_subnet
    if pods.overlaps(services):
        found = f"{services} overlaps {pods} of kubernetes.podSubnet"
        yield Problem("kubernetes.serviceSubnet", found, OVERLAP, "Choose another private network")
    low, high = SERVICE_PREFIXES
    if not low <= services.prefixlen <= high:
        rule = f"kube-apiserver and kubeadm take a prefix from /{low} to /{high}"
        yield Problem("kubernetes.serviceSubnet", str(services), rule, "Choose a /16")
    address = settings.kubernetes.api_address
    for path, network in _subnets(settings).items():
        if address is not None and address in network:
            found = f"{address} lies in {network} of {path}"
            yield Problem("kubernetes.apiAddress", found, OVERLAP, "Choose a free address of the nodes' network")


def pod_subnet_holds_nodes(settings: Settings) -> Iterator[Problem]:
    network = settings.kubernetes.pod_subnet
    members = sum(node.role is not Role.STORAGE for node in settings.nodes)
    room = 2 ** (NODE_PREFIX - network.prefixlen) if network.prefixlen <= NODE_PREFIX else 0
    if members > room:
        prefix = NODE_PREFIX - (members - 1).bit_length()
        found = f"{network} has room for {room} nodes of {members}"
        rule = f"each node takes a /{NODE_PREFIX}, and the network cannot be changed later"
        yield Problem("kubernetes.podSubnet", found, rule, f"Choose a /{prefix} or larger")


def nodes_outside(settings: Settings) -> Iterator[Problem]:
    for path, network in _subnets(settings).items():
        if inside := [node for node in settings.nodes if node.address in network]:
            yield Problem(path, f"{network} contains {_some(inside)}", OVERLAP, "Choose another private network")


def pools_outside(settings: Settings) -> Iterator[Problem]:
    for path, network in _subnets(settings).items():
        for index, text in enumerate(settings.load_balancer.addresses):
            if any(part.overlaps(network) for part in networks(text)):
                found = f"{text} overlaps {network} of {path}"
                remedy = "Choose free addresses of the nodes' network"
                yield Problem(f"loadBalancer.addresses[{index}]", found, OVERLAP, remedy)


def pools_apart(settings: Settings) -> Iterator[Problem]:
    for (_, one), (index, two) in combinations(enumerate(settings.load_balancer.addresses), 2):
        (first, last), (other_first, other_last) = address_range(one), address_range(two)
        if first <= other_last and other_first <= last:
            found = f"{two} overlaps {one}"
            yield Problem(f"loadBalancer.addresses[{index}]", found, "MetalLB refuses overlapping ranges", "Join them")


def pools_without_nodes(settings: Settings) -> Iterator[Problem]:
    for index, text in enumerate(settings.load_balancer.addresses):
        first, last = address_range(text)
        if inside := [node for node in settings.nodes if first <= node.address <= last]:
            rule = "MetalLB would give a machine's address to a service"
            found = f"{text} contains {_some(inside)}"
            yield Problem(f"loadBalancer.addresses[{index}]", found, rule, "Choose addresses no machine has")


def _some(nodes: list[Node]) -> str:
    """The first of perhaps a thousand, and how many more."""
    rest = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return f"{nodes[0].address} of `{nodes[0].name}`{rest}"
