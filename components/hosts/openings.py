"""What a node lets in from others: one table for the packet filter, its tests, and docs/open-ports.md.

Everything that listens and is not in it is closed: the components' own health and metrics (10248, 10256, without
observability 2381, 10249, 10257 and 10259 too, MetalLB's 7472), rpcbind, the health ports of Services.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Literal

from components.settings import Node, Role, Settings
from components.traffic import CONTROL_PLANE_METRICS_PORTS, KUBE_PROXY_METRICS_PORT, NODE_EXPORTER_PORT

ETCD = (2379, 2380)
KUBELET = 10250
VXLAN = 8472  # Flannel's, which is the kernel's and not the standard's
MEMBERLIST = 7946  # MetalLB's speakers watch each other
NFS = 2049


class Source(StrEnum):
    """Whose packets; the value is a set's name in the filter."""

    OPERATORS = "operators"
    API_CLIENTS = "api_clients"
    NODES = "nodes"
    PODS = "pods"
    READERS = "readers"
    EXTRA = "extra"


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """Ports that a node lets in from `networks`; None is anywhere. `vrrp` is a protocol of its own and has no ports."""

    purpose: str
    protocol: Literal["tcp", "udp", "vrrp"]
    ports: tuple[int, ...] = ()
    source: Source
    networks: tuple[IPv4Network, ...] | None


def openings(settings: Settings, node: Node) -> tuple[Opening, ...]:
    """The table's rows for one node, in the order of the filter's rules."""
    member, worker = node.role is not Role.STORAGE, node.role is Role.WORKER
    control_plane = node.role is Role.CONTROL_PLANE
    rows: list[Opening] = [
        _opening(settings, "SSH", "tcp", (node.port or settings.ssh.port,), Source.OPERATORS),
    ]
    if node in settings.backup_keepers:
        rows += [_opening(settings, "backups of etcd (SSH)", "tcp", (node.port or settings.ssh.port,), Source.NODES)]
    if control_plane:
        clients = (Source.NODES, Source.PODS, Source.API_CLIENTS)
        rows += [_opening(settings, "API server", "tcp", (settings.kubernetes.api_port,), who) for who in clients]
        rows += [_opening(settings, "etcd", "tcp", ETCD, Source.NODES)]
        if settings.kubernetes.api_address:
            rows += [_opening(settings, "API address (keepalived)", "vrrp", (), Source.NODES)]
    if member:
        rows += [_opening(settings, "kubelet", "tcp", (KUBELET,), who) for who in (Source.NODES, Source.PODS)]
        rows += [_opening(settings, "pod network (VXLAN)", "udp", (VXLAN,), Source.NODES)]
    if settings.observability.enabled:
        # A pod on the node that is asked, and pods behind a node's address, come from the nodes.
        for who in (Source.NODES, Source.PODS):
            if member:
                numbers = (NODE_EXPORTER_PORT, KUBE_PROXY_METRICS_PORT)
                rows += [_opening(settings, "metrics of the node and of kube-proxy", "tcp", numbers, who)]
            if control_plane:
                purpose = "metrics of etcd, controller manager and scheduler"
                rows += [_opening(settings, purpose, "tcp", CONTROL_PLANE_METRICS_PORTS, who)]
    if worker:
        protocols: tuple[Literal["tcp", "udp"], ...] = ("tcp", "udp")
        rows += [_opening(settings, "MetalLB's members", p, (MEMBERLIST,), Source.NODES) for p in protocols]
    if node in settings.exporting:
        rows += [_opening(settings, "model store (NFS)", "tcp", (NFS,), Source.READERS)]
    # Where nobody may come from, nothing is open.
    return tuple(row for row in (*rows, *_extra(settings, node)) if row.networks != ())


def _opening(
    settings: Settings,
    purpose: str,
    protocol: Literal["tcp", "udp", "vrrp"],
    ports: tuple[int, ...],
    source: Source,
) -> Opening:
    return Opening(
        purpose=purpose, protocol=protocol, ports=ports, source=source, networks=networks_of(settings, source)
    )


def _extra(settings: Settings, node: Node) -> Iterator[Opening]:
    for extra in settings.firewall.extra_ports:
        if not extra.roles or node.role in extra.roles:
            yield Opening(
                purpose="firewall.extraPorts",
                protocol=extra.protocol,
                ports=(extra.port,),
                source=Source.EXTRA,
                networks=extra.networks or None,
            )


def networks_of(settings: Settings, source: Source) -> tuple[IPv4Network, ...] | None:
    """Where these come from; None is anywhere."""
    firewall = settings.firewall
    match source:
        case Source.OPERATORS:
            return firewall.operator_networks or None
        case Source.API_CLIENTS:
            # Whoever runs `up` speaks to the API as well.
            return (*firewall.operator_networks, *firewall.api_networks) if firewall.operator_networks else None
        case Source.NODES:
            return settings.node_networks
        case Source.PODS:
            return (settings.kubernetes.pod_subnet,)
        case Source.READERS:
            writer = settings.model_writer
            return (*settings.model_readers, *((IPv4Network(writer),) if writer else ()))
        case Source.EXTRA:
            raise ValueError("each extra port has networks of its own")
