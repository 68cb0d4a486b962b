"""The control plane: every one of its nodes can be replaced, none is special once the first has started the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

import pulumi

from components.cluster import api_endpoint, api_server, backup, kubeadm_config, membership
from components.naming import token
from components.settings import Kubernetes, Node
from host.resources import Configuration, ConfigurationArgs, Connection, File, Rounds, Script, Unit


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlPlaneArgs:
    """`interfaces` carry the nodes' addresses; `after` are the nodes' Kubernetes packages; `saving` is how etcd is saved."""

    nodes: tuple[Node, ...]
    connections: Mapping[str, Connection]
    interfaces: Mapping[str, pulumi.Input[str]]
    kubernetes: Kubernetes
    api_host: str
    reset_last: bool
    after: Mapping[str, pulumi.Resource]
    saving: backup.SavingArgs | None = None


class ControlPlane(pulumi.ComponentResource):
    """One configuration `<node>-member` for each node, chained: they join one after another and leave one after another."""

    members: Mapping[str, Configuration]
    first: Configuration  # once it is there, the API answers

    def __init__(self, name: str, args: ControlPlaneArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "ControlPlane"), name, None, opts)
        members: dict[str, Configuration] = {}
        for node in args.nodes:
            members[node.name] = Configuration(
                f"{node.name}-member",
                control_plane_configuration(args, node),
                pulumi.ResourceOptions(parent=self, depends_on=[args.after[node.name], *list(members.values())[-1:]]),
            )
        Rounds(
            "encryption-key",
            nodes=tuple(args.connections[node.name] for node in args.nodes),
            script=rotation(args.kubernetes),
            rounds=("offer", "use", "rewrite", "drop"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(members.values())),
        )
        self.members = members
        self.first = members[args.nodes[0].name]
        self.register_outputs({})


def control_plane_configuration(args: ControlPlaneArgs, node: Node) -> ConfigurationArgs:
    """What one control plane gets: kubeadm's files, the endpoint's keepalived, and membership itself."""
    kubernetes, environment = args.kubernetes, membership.environment(node, args.api_host, args.kubernetes)
    files = {
        kubeadm_config.INIT_FILE: File(content=kubeadm_config.init_yaml(kubernetes, node, args.api_host), mode="0600"),
        kubeadm_config.JOIN_FILE: File(content=kubeadm_config.join_yaml(kubernetes, node, args.api_host), mode="0600"),
    }
    files |= {path: File(content=text, mode="0600") for path, text in api_server.files().items()}
    address = kubernetes.api_address
    if address is not None:
        files[api_endpoint.CONFIG] = File(content=keepalived_conf(args, node, address))
    units = {"keepalived.service": Unit(restart_on=(api_endpoint.CONFIG,))} if address else {}
    last: tuple[Script, ...] = (membership.run_kubelet(),)
    if args.saving is not None:
        files |= backup.files(args.saving, node, args.connections)
        units |= backup.units()
        last += (backup.watch(args.saving.backup),)
    return ConfigurationArgs(
        connection=args.connections[node.name],
        files=files,
        packages={"keepalived": ""} if address else {},
        units=units,
        scripts=(
            # Apart from joining: for that a peer takes the node's old place in etcd away first.
            Script(path=f"{membership.SCRIPTS}/repair_control_plane.sh", environment=environment),
            Script(
                path=f"{membership.SCRIPTS}/join_control_plane.sh",
                environment=environment,
                material=f"{membership.SCRIPTS}/mint_join_material.sh",
                deadline_seconds=900,
            ),
            # Of one that has just joined nothing differs; of others what was changed in the settings since.
            Script(
                path=f"{membership.SCRIPTS}/configure_control_plane.sh", environment=environment, deadline_seconds=900
            ),
            Script(path=f"{membership.SCRIPTS}/renew_certificates.sh", environment=environment, deadline_seconds=1200),
            *last,
        ),
        removal=removal(environment, reset_last=args.reset_last),
        peers=tuple(args.connections[other.name] for other in args.nodes if other.name != node.name),
    )


def rotation(kubernetes: Kubernetes) -> Script:
    """The key of Secrets in etcd. A round waits for the API server to look at its file, which it does once a minute."""
    return Script(
        path=f"{membership.SCRIPTS}/rotate_encryption_key.sh",
        environment={"GENERATION": str(kubernetes.encryption_key_generation)},
        deadline_seconds=600,
    )


def keepalived_conf(args: ControlPlaneArgs, node: Node, address: IPv4Address) -> pulumi.Output[str]:
    """The configuration's text, once the node's interface is known."""

    def text(interface: str) -> str:
        return api_endpoint.keepalived_conf(args.kubernetes, address, interface, node, args.nodes)

    return pulumi.Output.from_input(args.interfaces[node.name]).apply(text)


def removal(environment: Mapping[str, str], *, reset_last: bool) -> tuple[Script, ...]:
    """etcd first, so that its quorum never counts on a node that is about to vanish; the API object last."""
    reset = {**environment, "RESET_LAST_CONTROL_PLANE": "yes" if reset_last else "no"}
    return (
        membership.drain(environment),
        Script(path=f"{membership.SCRIPTS}/leave_control_plane.sh", deadline_seconds=60),
        Script(
            path=f"{membership.SCRIPTS}/remove_etcd_member.sh", environment=environment, on="peer", deadline_seconds=120
        ),
        membership.reset(reset),
        membership.delete(environment),
    )
