"""What the host provider found out about a node, as typed values."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Fact(BaseModel):
    """Base of the fact models. A fact that could not be read is None, and a check on it says nothing."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class OperatingSystem(Fact):
    """From /etc/os-release."""

    id: str = ""
    version_id: str = ""


class NodeFacts(Fact):
    """One node. Sizes in MiB and GiB as the names say, the clock's offset in seconds against the operator's machine.

    `interface` is the one that carries the address the node is reached at.
    """

    reachable: bool = True
    hostname: str | None = None
    machine_id: str | None = None
    os: OperatingSystem | None = None
    kernel: str | None = None
    architecture: str | None = None
    cpus: int | None = None
    memory_mib: int | None = None
    root_disk_gib: float | None = None
    root_free_gib: float | None = None
    cgroup_version: int | None = None
    clock_offset_seconds: float | None = None
    addresses: list[str] | None = None
    interface: str | None = None
    swap: bool | int | list[str] | None = None
    gpus: list[str] | None = None  # PCI ids, vendor:device
    secure_boot: str | None = None  # off, on, enrolled
    listening: list[int] | None = None
    host_keys: list[str] = []  # public, of its sshd
    sudo: bool | None = None
    joined: bool = False


def parse(facts: dict[str, Any]) -> NodeFacts:
    """Read the mapping a `Facts` resource delivers; numbers may arrive as floats, as they do from the engine."""
    return NodeFacts.model_validate(facts)
