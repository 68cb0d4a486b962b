"""The machines themselves: who they are, and whether they can become what the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.hosts import facts as node_facts
from components.hosts.connections import connections
from components.hosts.preflight import Report, preflight
from components.naming import token
from components.settings import Gpu, Inference, Kubernetes, Node, Preflight, Ssh
from host.resources import Connection, Facts, Gate


@dataclass(frozen=True, kw_only=True, slots=True)
class MachinesArgs:
    """All nodes of the stack and what they are judged by."""

    nodes: tuple[Node, ...]
    ssh: Ssh
    kubernetes: Kubernetes
    preflight: Preflight
    inference: Inference
    gpu: Gpu


class Machines(pulumi.ComponentResource):
    """Reads every node, then stops with all findings at once before anything is changed."""

    connections: Mapping[str, Connection]
    facts: Mapping[str, pulumi.Output[dict[str, Any]]]
    interfaces: Mapping[str, pulumi.Output[str]]  # the interface that carries the node's address
    gate: pulumi.Resource  # whatever changes a node depends on it

    def __init__(self, name: str, args: MachinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("hosts", "Machines"), name, None, opts)
        self.connections = connections(args.nodes, args.ssh)
        read = {
            node.name: Facts(
                f"{node.name}-facts", self.connections[node.name], pulumi.ResourceOptions(parent=self)
            ).facts
            for node in args.nodes
        }
        self.facts = read
        self.interfaces = {node.name: read[node.name].apply(interface_of) for node in args.nodes}
        report = pulumi.Output.all(**read).apply(lambda found: judge(args, found))
        self.gate = Gate(
            "preflight",
            report.apply(lambda r: r.findings),
            report.apply(lambda r: r.warnings),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def judge(args: MachinesArgs, found: Mapping[str, Any]) -> Report:
    """Preflight over the raw facts."""
    parsed = {name: node_facts.parse(dict(facts)) for name, facts in found.items() if facts}
    return preflight(args.nodes, parsed, args.kubernetes, args.preflight, args.gpu, args.inference)


def interface_of(found: dict[str, Any]) -> str:
    """Name of the interface that carries the node's address; eth0 where it could not be read."""
    return node_facts.parse(dict(found)).interface or "eth0"
