"""Flannel: the pod network (VXLAN between the nodes' own addresses), as typed resources.

After upstream's manifest (flannel-io/flannel, Documentation/kube-flannel.yml), with one difference: `--iface` is the node's own
address, so that on a machine with several networks the pods' traffic takes the one the settings name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_kubernetes.apps.v1 import DaemonSet, DaemonSetSpecArgs
from pulumi_kubernetes.core.v1 import (
    CapabilitiesArgs,
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    HostPathVolumeSourceArgs,
    Namespace,
    ObjectFieldSelectorArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ResourceRequirementsArgs,
    SecurityContextArgs,
    ServiceAccount,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding, PolicyRuleArgs, RoleRefArgs, SubjectArgs

from components.naming import labels, selector, token

NAMESPACE = "kube-flannel"
CONFIG = "/etc/kube-flannel"
CNI_PLUGINS = [
    {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}},
    {"type": "portmap", "capabilities": {"portMappings": True}},
]


@dataclass(frozen=True, kw_only=True, slots=True)
class FlannelArgs:
    """Full image references and the network pods take their addresses from."""

    pod_subnet: IPv4Network
    image: str
    cni_plugin_image: str


class Flannel(pulumi.ComponentResource):
    """Nodes become Ready once its pod runs on them."""

    ready: pulumi.Resource

    def __init__(self, name: str, args: FlannelArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "Flannel"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = Namespace("flannel-namespace", metadata=namespace_metadata(), opts=child)
        within = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        account = ServiceAccount("flannel-account", metadata=metadata("flannel"), opts=within)
        role = ClusterRole("flannel-role", metadata=metadata("flannel", None), rules=rules(), opts=child)
        binding = ClusterRoleBinding(
            "flannel-binding",
            metadata=metadata("flannel", None),
            role_ref=RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="flannel"),
            subjects=[SubjectArgs(kind="ServiceAccount", name="flannel", namespace=NAMESPACE)],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[role, account]),
        )
        # Named by Pulumi: another text gets another name, so the pods start again with it.
        config = ConfigMap(
            "flannel-config",
            metadata=ObjectMetaArgs(namespace=NAMESPACE, labels=labels("flannel", "network")),
            data=config_data(args.pod_subnet),
            opts=within,
        )
        self.ready = DaemonSet(
            "flannel",
            metadata=metadata("kube-flannel-ds"),
            spec=daemon_set_spec(args, config.metadata.name),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[binding]),
        )
        self.register_outputs({})


def namespace_metadata() -> ObjectMetaArgs:
    """It changes the hosts' networks, so Pod Security has to let it."""
    privileged = {"pod-security.kubernetes.io/enforce": "privileged"}
    return ObjectMetaArgs(name=NAMESPACE, labels=labels("flannel", "network") | privileged)


def metadata(name: str, namespace: str | None = NAMESPACE) -> ObjectMetaArgs:
    """Upstream's fixed names: an operator looks for them."""
    return ObjectMetaArgs(name=name, namespace=namespace, labels=labels("flannel", "network"))


def rules() -> list[PolicyRuleArgs]:
    """Reads nodes, and writes the node's own VXLAN address into its annotations."""
    return [
        PolicyRuleArgs(api_groups=[""], resources=["pods"], verbs=["get"]),
        PolicyRuleArgs(api_groups=[""], resources=["nodes"], verbs=["get", "list", "watch"]),
        PolicyRuleArgs(api_groups=[""], resources=["nodes/status"], verbs=["patch"]),
    ]


def config_data(pod_subnet: IPv4Network) -> dict[str, str]:
    """The network for flanneld, and what it tells the container runtime."""
    return {
        "cni-conf.json": json.dumps({"name": "cbr0", "cniVersion": "0.3.1", "plugins": CNI_PLUGINS}),
        "net-conf.json": json.dumps(
            {"Network": str(pod_subnet), "EnableNFTables": False, "Backend": {"Type": "vxlan"}}
        ),
    }


def daemon_set_spec(args: FlannelArgs, config: pulumi.Input[str]) -> DaemonSetSpecArgs:
    """One pod on every node, before anything else can have an address there."""
    return DaemonSetSpecArgs(
        selector=LabelSelectorArgs(match_labels=selector("flannel")),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels("flannel", "network")),
            spec=PodSpecArgs(
                host_network=True,
                service_account_name="flannel",
                priority_class_name="system-node-critical",
                tolerations=[TolerationArgs(operator="Exists")],
                init_containers=[
                    copy("install-cni-plugin", args.cni_plugin_image, "/flannel", "/opt/cni/bin/flannel", "cni-plugin"),
                    copy(
                        "install-cni",
                        args.image,
                        f"{CONFIG}/cni-conf.json",
                        "/etc/cni/net.d/10-flannel.conflist",
                        "cni",
                    ),
                ],
                containers=[flanneld(args.image)],
                volumes=[
                    host_path("run", "/run/flannel", "DirectoryOrCreate"),
                    host_path("cni-plugin", "/opt/cni/bin", "DirectoryOrCreate"),
                    host_path("cni", "/etc/cni/net.d", "DirectoryOrCreate"),
                    host_path("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
                    VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config)),
                ],
            ),
        ),
    )


def copy(name: str, image: str, source: str, target: str, volume: str) -> ContainerArgs:
    """Puts one file of the image, or of the configuration, on the host."""
    return ContainerArgs(
        name=name,
        image=image,
        command=["cp", "-f", source, target],
        resources=ResourceRequirementsArgs(requests={"cpu": "10m", "memory": "10Mi"}, limits={"memory": "50Mi"}),
        volume_mounts=[
            VolumeMountArgs(name=volume, mount_path=target.rpartition("/")[0]),
            VolumeMountArgs(name="config", mount_path=CONFIG),
        ],
    )


def flanneld(image: str) -> ContainerArgs:
    """The daemon: leases this node's part of the pod network and keeps the routes to all others."""
    return ContainerArgs(
        name="kube-flannel",
        image=image,
        command=["/opt/bin/flanneld"],
        args=["--ip-masq", "--kube-subnet-mgr", "--iface=$(NODE_ADDRESS)"],
        env=[
            from_field("POD_NAME", "metadata.name"),
            from_field("POD_NAMESPACE", "metadata.namespace"),
            from_field("NODE_ADDRESS", "status.hostIP"),
            EnvVarArgs(name="EVENT_QUEUE_DEPTH", value="5000"),
        ],
        resources=ResourceRequirementsArgs(requests={"cpu": "100m", "memory": "50Mi"}, limits={"memory": "256Mi"}),
        security_context=SecurityContextArgs(
            privileged=False, capabilities=CapabilitiesArgs(add=["NET_ADMIN", "NET_RAW"])
        ),
        volume_mounts=[
            VolumeMountArgs(name="run", mount_path="/run/flannel"),
            VolumeMountArgs(name="config", mount_path=CONFIG),
            VolumeMountArgs(name="xtables-lock", mount_path="/run/xtables.lock"),
        ],
    )


def from_field(name: str, path: str) -> EnvVarArgs:
    return EnvVarArgs(name=name, value_from=EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path=path)))


def host_path(name: str, path: str, kind: str) -> VolumeArgs:
    return VolumeArgs(name=name, host_path=HostPathVolumeSourceArgs(path=path, type=kind))
