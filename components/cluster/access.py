"""How the program reaches the cluster it made."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.naming import token
from host.resources import Connection, Kubeconfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterAccessArgs:
    """`control_planes` are asked in turn for the administrator's credentials, once the API answers (`api`)."""

    control_planes: tuple[Connection, ...]
    api_host: str
    api_port: int
    api: pulumi.Resource


class ClusterAccess(pulumi.ComponentResource):
    """The operator's kubeconfig and the Kubernetes provider made of it."""

    kubeconfig: pulumi.Output[str]
    provider: k8s.Provider

    def __init__(self, name: str, args: ClusterAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "ClusterAccess"), name, None, opts)
        read = Kubeconfig(
            "kubeconfig",
            args.control_planes,
            f"https://{args.api_host}:{args.api_port}",
            pulumi.ResourceOptions(parent=self, depends_on=[args.api]),
        )
        self.kubeconfig = pulumi.Output.secret(read.kubeconfig)
        # With the identifier a kubeconfig that is renewed, or unknown in a preview, never plans to replace every object.
        self.provider = k8s.Provider(
            "cluster",
            kubeconfig=self.kubeconfig,
            cluster_identifier=read.cluster_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
