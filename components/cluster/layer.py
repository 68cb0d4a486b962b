"""Layer 2, cluster: kubeadm's programs, control planes one after another, workers side by side, pod network, our way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.apt import Repository
from components.backups import BackupAccess
from components.cluster.access import ClusterAccess, ClusterAccessArgs
from components.cluster.backup import SavingArgs
from components.cluster.control_plane import ControlPlane, ControlPlaneArgs
from components.cluster.default_namespace import DefaultNamespace
from components.cluster.dns import ClusterDns
from components.cluster.flannel import Flannel, FlannelArgs
from components.cluster.kubernetes_packages import KubernetesPackages, KubernetesPackagesArgs
from components.cluster.network_policy_agent import NetworkPolicyAgent, NetworkPolicyAgentArgs
from components.cluster.workers import Workers, WorkersArgs
from components.field_manager import use_one_field_manager
from components.images import image
from components.settings import Settings
from host.resources import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """`provider` reaches the API; what runs on workers waits for `ready`."""

    provider: pulumi.ProviderResource
    kubeconfig: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]


def cluster(
    settings: Settings,
    *,
    repository: Repository,
    ssh: pulumi.ProviderResource,
    connections: Mapping[str, Connection],
    interfaces: Mapping[str, pulumi.Output[str]],
    after: Mapping[str, pulumi.Resource],
    backup: BackupAccess | None,
) -> Cluster:
    """`connections`, `interfaces` and `after` (the nodes' base systems) are by node name; with `backup` etcd is saved."""
    here = pulumi.ResourceOptions(providers=[ssh])
    kubernetes, api_host = settings.kubernetes, settings.api_host
    packages = KubernetesPackages(
        "kubernetes",
        KubernetesPackagesArgs(
            nodes=settings.control_planes + settings.workers,
            connections=connections,
            kubernetes=kubernetes,
            mirrors=settings.mirrors,
            repository=repository,
            nvidia_runtime=settings.gpu.driver.owner != "operator",
            after=after,
        ),
        here,
    )
    control_plane = ControlPlane(
        "control-plane",
        ControlPlaneArgs(
            nodes=settings.control_planes,
            connections=connections,
            interfaces=interfaces,
            kubernetes=kubernetes,
            api_host=api_host,
            reset_last=settings.destroy.reset_last_control_plane,
            after=packages.ready,
            saving=SavingArgs(backup=kubernetes.backup, keepers=settings.backup_keepers, access=backup)
            if backup
            else None,
        ),
        here,
    )
    peers = tuple(connections[node.name] for node in settings.control_planes)
    workers = Workers(
        "workers",
        WorkersArgs(
            nodes=settings.workers,
            connections=connections,
            control_planes=peers,
            kubernetes=kubernetes,
            api_host=api_host,
            after=packages.ready,
            api=control_plane.first,
        ),
        here,
    )
    access = ClusterAccess(
        "access",
        ClusterAccessArgs(
            control_planes=peers, api_host=api_host, api_port=kubernetes.api_port, api=control_plane.first
        ),
        here,
    )
    use_one_field_manager()
    network = Flannel(
        "flannel",
        FlannelArgs(
            pod_subnet=kubernetes.pod_subnet,
            image=image("flannel", settings.images),
            cni_plugin_image=image("flannel-cni-plugin", settings.images),
        ),
        pulumi.ResourceOptions(providers=[access.provider]),
    )
    joined = [*control_plane.members.values(), workers, network]
    ready: list[pulumi.Resource] = [network, workers]
    if kubernetes.network_policies:
        agent = NetworkPolicyAgent(
            "network-policy-agent",
            NetworkPolicyAgentArgs(
                image=image("kube-router", settings.images),
                service_subnet=kubernetes.service_subnet,
                control_planes=peers,
            ),
            pulumi.ResourceOptions(providers=[access.provider, ssh], depends_on=joined),
        )
        ready.append(agent)
    ClusterDns("dns", pulumi.ResourceOptions(providers=[access.provider], depends_on=joined))
    ready.append(DefaultNamespace("default-namespace", pulumi.ResourceOptions(providers=[access.provider])))
    return Cluster(provider=access.provider, kubeconfig=access.kubeconfig, ready=tuple(ready))
