"""Container runtime and Kubernetes' programs on every member of the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.apt import Repository, repository
from components.cluster import container_runtime
from components.naming import token
from components.settings import AptMirror, Kubernetes, Mirrors, Node, Role
from components.versions import KUBERNETES_KEY_FINGERPRINT, KUBERNETES_TOOLS, PAUSE_IMAGE
from host.resources import Configuration, ConfigurationArgs, Connection, File, Script, Unit

SOURCES = "/etc/apt/sources.list.d/kubernetes.list"
# What kubeadm, kubelet and the network plugins call; Debian's runc and CNI plugins come with containerd or kubernetes-cni.
DEPENDENCIES = ("conntrack", "containerd", "ethtool", "iptables", "socat")
SYSCTLS = {
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.ipv4.ip_forward": "1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class KubernetesPackagesArgs:
    """`after` are the nodes' base systems, which fetched the repository's key if it is a remote one."""

    nodes: tuple[Node, ...]
    connections: Mapping[str, Connection]
    kubernetes: Kubernetes
    mirrors: Mirrors
    repository: Repository
    nvidia_runtime: bool  # on nodes with GPUs, unless the GPU operator brings it
    after: Mapping[str, pulumi.Resource]


class KubernetesPackages(pulumi.ComponentResource):
    """One configuration `<node>-kubernetes` for each member: containerd, and kubeadm, kubelet, kubectl pinned and held."""

    ready: Mapping[str, Configuration]

    def __init__(self, name: str, args: KubernetesPackagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "KubernetesPackages"), name, None, opts)
        self.ready = {
            node.name: Configuration(
                f"{node.name}-kubernetes",
                packages_configuration(args, node),
                pulumi.ResourceOptions(parent=self, depends_on=[args.after[node.name]]),
            )
            for node in args.nodes
        }
        self.register_outputs({})


def packages_configuration(args: KubernetesPackagesArgs, node: Node) -> ConfigurationArgs:
    """What one node gets."""
    texts = {
        SOURCES: args.repository.lines,
        container_runtime.CONFIG: container_runtime.config_toml(args.kubernetes, PAUSE_IMAGE),
        "/etc/crictl.yaml": container_runtime.crictl_yaml(),
        **container_runtime.registry_files(args.mirrors.images),
        **({args.repository.keyring: args.repository.key} if args.repository.key else {}),
    }
    restart_on: tuple[str, ...] = (container_runtime.CONFIG,)
    if node.gpus and args.nvidia_runtime:
        texts[container_runtime.NVIDIA] = container_runtime.nvidia_toml(args.kubernetes, PAUSE_IMAGE)
        restart_on += (container_runtime.NVIDIA,)
    return ConfigurationArgs(
        connection=args.connections[node.name],
        files={path: File(content=text) for path, text in texts.items()},
        sysctls=SYSCTLS,
        packages=package_versions(args.kubernetes),
        units={"containerd.service": Unit(restart_on=restart_on)},
        scripts=(pull_images(args.kubernetes),) if node.role is Role.CONTROL_PLANE else (),
    )


def pull_images(kubernetes: Kubernetes) -> Script:
    """Here, where the nodes work in parallel; joining is done one after another."""
    return Script(
        path="components/cluster/scripts/pull_images.sh",
        environment={"KUBERNETES_VERSION": f"v{kubernetes.version}", "CRI_SOCKET": container_runtime.SOCKET},
        deadline_seconds=1800,
    )


def package_versions(kubernetes: Kubernetes) -> dict[str, str]:
    """Package -> version; "" is whatever the distribution has."""
    own = f"{kubernetes.version}-{kubernetes.package_revision}"
    tools = KUBERNETES_TOOLS.get(minor(kubernetes.version), {})
    return {
        **dict.fromkeys(DEPENDENCIES, ""),
        **dict.fromkeys(("kubeadm", "kubectl", "kubelet"), own),
        "kubernetes-cni": tools.get("kubernetes-cni", ""),
    }


def minor(version: str) -> str:
    """`1.34.2` -> `1.34`."""
    return ".".join(version.split(".")[:2])


def kubernetes_repository(kubernetes: Kubernetes, mirrors: Mirrors) -> Repository:
    """The configured mirror, or Kubernetes' own: one for each minor version, all signed by the same key."""
    if mirrors.kubernetes:
        return repository("kubernetes", mirrors.kubernetes)
    url = f"https://pkgs.k8s.io/core:/stable:/v{minor(kubernetes.version)}/deb/"
    return repository("kubernetes", AptMirror(url=url, key_url=f"{url}Release.key"), KUBERNETES_KEY_FINGERPRINT)
