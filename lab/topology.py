"""Which nodes a lab has: the checked-in topology files and what their names and addresses must satisfy."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from lab.machine import HERE, LabError

TOPOLOGIES = HERE / "topologies"
ROLES = ("control-plane", "worker", "storage")

# The kernel allows 15 characters for an interface: `qvl-<lab>` and `qvl-<letter>-<node>`.
LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,9}[a-z0-9]|[a-z]")
NODE_NAME = re.compile(r"[a-z]([a-z0-9-]{0,7}[a-z0-9])?")


@dataclass(frozen=True)
class Node:
    """One machine of a lab."""

    name: str
    role: str
    address: IPv4Address
    gpus: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "role": self.role, "address": str(self.address), "gpus": self.gpus}

    @staticmethod
    def from_dict(entry: Mapping[str, Any], where: str) -> "Node":
        """Read one node. Raises LabError naming `where` and the field."""
        unknown = sorted(set(entry) - {"name", "role", "address", "gpus"})
        if unknown:
            raise LabError(f"{where}: unknown field {unknown[0]}; a node has name, role, address, gpus")
        name, role = str(entry.get("name", "")), str(entry.get("role", ""))
        if not NODE_NAME.fullmatch(name):
            raise LabError(
                f"{where}.name: {name!r}; at most 9 lower case letters, digits and hyphens, a letter first"
                " (its network interface on this machine carries the name)"
            )
        if role not in ROLES:
            raise LabError(f"{where}.role: {role!r}; one of {', '.join(ROLES)}")
        gpus = entry.get("gpus", 0)
        if not isinstance(gpus, int) or isinstance(gpus, bool) or not 0 <= gpus <= 16:
            raise LabError(f"{where}.gpus: {gpus!r}; a whole number from 0 to 16")
        return Node(name, role, parse_address(str(entry.get("address", "")), f"{where}.address"), gpus)


@dataclass(frozen=True)
class Range:
    """Addresses from first to last, both included."""

    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def addresses(self) -> Iterator[IPv4Address]:
        return (IPv4Address(number) for number in range(int(self.first), int(self.last) + 1))


@dataclass(frozen=True)
class Topology:
    """A lab as its file describes it."""

    name: str
    gateway: IPv4Interface
    user: str
    ranges: Mapping[str, Range]
    nodes: tuple[Node, ...]
    reserved: tuple[Range, ...] = field(default=())

    @property
    def bridge(self) -> str:
        return f"qvl-{self.name}"

    def veth(self, node: str) -> str:
        """The node's network interface on this machine; unique because no two labs share a first letter."""
        return f"qvl-{self.name[0]}-{node}"

    def check(self, nodes: Iterable[Node]) -> None:
        """Raise LabError unless names and addresses are unique, in the network and not reserved."""
        names: set[str] = set()
        holders: dict[IPv4Address, str] = {self.gateway.ip: "the gateway"}
        for node in nodes:
            if node.name in names:
                raise LabError(f"{self.name}: node {node.name} appears twice; names are unique")
            names.add(node.name)
            if node.address in holders:
                raise LabError(f"{node.name}: address {node.address} belongs to {holders[node.address]}; use another")
            holders[node.address] = node.name
            if node.address not in self.gateway.network:
                raise LabError(f"{node.name}: address {node.address} is outside {self.gateway.network}")
            if any(node.address in reserved for reserved in self.reserved):
                raise LabError(f"{node.name}: address {node.address} is reserved for the cluster; use another")

    def next_address(self, role: str, taken: Iterable[IPv4Address]) -> IPv4Address:
        """The first address of the role's range that no node ever had. Raises LabError when all are used."""
        seen = set(taken)
        for address in self.ranges[role].addresses():
            if address not in seen:
                return address
        wanted = self.ranges[role]
        raise LabError(f"{role}: every address from {wanted.first} to {wanted.last} was used; name one with --address")


def parse_address(text: str, where: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError as error:
        raise LabError(f"{where}: {text!r}; an IPv4 address") from error


def parse_range(text: str, where: str) -> Range:
    first, _, last = text.partition("-")
    found = Range(parse_address(first, where), parse_address(last or first, where))
    if found.last < found.first:
        raise LabError(f"{where}: {text}; the first address comes after the last")
    return found


def available(folder: Path = TOPOLOGIES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def load(name: str, folder: Path = TOPOLOGIES) -> Topology:
    """Read the topology of a lab. Raises LabError naming the field that is wrong."""
    names = available(folder)
    if name not in names:
        raise LabError(f"LAB={name}: no such topology; one of {', '.join(names)}")
    if not LAB_NAME.fullmatch(name):
        raise LabError(f"LAB={name}: at most 11 lower case letters, digits and hyphens, a letter first")
    twins = [other for other in names if other != name and other[0] == name[0]]
    if twins:
        raise LabError(
            f"LAB={name}: shares its first letter with {twins[0]}; interface names would collide. Rename one"
        )
    path = folder / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{path.name}: {error}") from error
    return parse(name, data, path.name)


def parse(name: str, data: Mapping[str, Any], where: str) -> Topology:
    """Build a checked topology from the file's content."""
    for key in ("gateway", "user", "ranges", "node"):
        if key not in data:
            raise LabError(f"{where}: {key} is missing")
    try:
        gateway = IPv4Interface(data["gateway"])
    except ValueError as error:
        raise LabError(
            f"{where}: gateway: {data['gateway']!r}; an IPv4 address with prefix, like 10.77.0.1/24"
        ) from error
    ranges = {role: parse_range(str(text), f"{where}: ranges.{role}") for role, text in data["ranges"].items()}
    missing = [role for role in ROLES if role not in ranges]
    if missing:
        raise LabError(f"{where}: ranges.{missing[0]} is missing")
    topology = Topology(
        name=name,
        gateway=gateway,
        user=str(data["user"]),
        ranges=ranges,
        nodes=tuple(Node.from_dict(entry, f"{where}: node[{index}]") for index, entry in enumerate(data["node"])),
        reserved=tuple(parse_range(str(text), f"{where}: reserved") for text in data.get("reserved", [])),
    )
    topology.check(topology.nodes)
    return topology
