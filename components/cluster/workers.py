"""The workers: they join and leave independently of each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.cluster import kubeadm_config, membership
from components.naming import token
from components.settings import Kubernetes, Node
from host.resources import Configuration, ConfigurationArgs, Connection, File, Script


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkersArgs:
    """`control_planes` mint join material; `after` are the nodes' Kubernetes packages; `api` is the first control plane."""

    nodes: tuple[Node, ...]
    connections: Mapping[str, Connection]
    control_planes: tuple[Connection, ...]
    kubernetes: Kubernetes
    api_host: str
    after: Mapping[str, pulumi.Resource]
    api: pulumi.Resource


class Workers(pulumi.ComponentResource):
    """One configuration `<node>-member` for each worker, all in parallel as soon as there is an API to join."""

    members: Mapping[str, Configuration]

    def __init__(self, name: str, args: WorkersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "Workers"), name, None, opts)
        self.members = {
            node.name: Configuration(
                f"{node.name}-member",
                worker_configuration(args, node),
                pulumi.ResourceOptions(parent=self, depends_on=[args.after[node.name], args.api]),
            )
            for node in args.nodes
        }
        self.register_outputs({})


def worker_configuration(args: WorkersArgs, node: Node) -> ConfigurationArgs:
    """What one worker gets: kubeadm's file and membership itself."""
    environment = membership.environment(node, args.api_host, args.kubernetes)
    join = kubeadm_config.join_yaml(args.kubernetes, node, args.api_host)
    return ConfigurationArgs(
        connection=args.connections[node.name],
        files={kubeadm_config.JOIN_FILE: File(content=join, mode="0600")},
        scripts=(
            Script(
                path=f"{membership.SCRIPTS}/join_worker.sh",
                environment=environment,
                material=f"{membership.SCRIPTS}/mint_join_material.sh",
                deadline_seconds=600,
            ),
            membership.run_kubelet(),
        ),
        removal=(membership.drain(environment), membership.reset(environment), membership.delete(environment)),
        peers=args.control_planes,
    )
