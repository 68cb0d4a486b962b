"""What the nodes let in from others, and how their operating system is kept current."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.nodes import Role
from components.settings.syntax import Origin

NEIGHBOURS = 24  # prefix of the network around a private address


class ExtraPort(Model):
    """A port of something that this program does not install."""

    port: int = Field(ge=1, le=65535, description="Its number.")
    protocol: Literal["tcp", "udp"] = Field(default="tcp", description="Its protocol.")
    networks: tuple[IPv4Network, ...] = Field(default=(), description="From where; none: anywhere.")
    roles: tuple[Role, ...] = Field(default=(), description="On nodes of these roles; none: on all.")


class Firewall(Model):
    """Each node's own packet filter: [what is open](open-ports.md). What is forwarded to pods is not touched."""

    enabled: bool = Field(default=True, description="`false` takes the filter off the nodes.")
    operator_networks: tuple[IPv4Network, ...] = Field(
        default=(),
        description="From where operators, and the bastion, reach SSH and the API; none: from anywhere.",
    )
    api_networks: tuple[IPv4Network, ...] = Field(
        default=(), description="From where clients reach the API beside operators, nodes and pods."
    )
    node_networks: tuple[IPv4Network, ...] = Field(
        default=(),
        description="Where nodes are: they reach etcd, kubelets and the pod network of each other. None: the /24 around each"
        " private address; each public one by itself, so that a node more or less changes the filter of all.",
    )
    extra_ports: tuple[ExtraPort, ...] = Field(default=(), description="Open as well.")


class Upgrades(Model):
    """Security updates of the distribution; never of packages that are held, the cluster's or the driver's."""

    security: bool = Field(
        default=True, description="Installed every day by unattended-upgrades, which never restarts a node."
    )
    origins: tuple[Origin, ...] = Field(
        default=(),
        description="Where else from, as patterns of unattended-upgrades: `origin=Example,suite=stable-security`. A mirror that"
        " signs its own release files needs one.",
    )


def around(address: IPv4Address) -> IPv4Network:
    """The network whose machines count as nodes if nobody says which do."""
    return IPv4Network(f"{address}/{NEIGHBOURS if address.is_private else 32}", strict=False)
