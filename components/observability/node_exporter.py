"""node-exporter: processors, memory, disks, file systems and clocks of every node, and what scripts leave in a folder there."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.apps.v1 import (
    DaemonSet,
    DaemonSetSpecArgs,
    DaemonSetUpdateStrategyArgs,
    RollingUpdateDaemonSetArgs,
)
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    HostPathVolumeSourceArgs,
    ObjectFieldSelectorArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector
from components.pods import burstable, container_security, http_probe, pod_security, ports
from components.settings import Images
from components.traffic import AGENTS, NODE_EXPORTER_PORT

NAME = "node-exporter"
NOBODY = 65534
ROOT = "/host"  # the node's own, read-only
TEXTFILES = "/var/lib/node-exporter/textfile"  # on the node; written by components/cluster/scripts/etcd_backup.sh
ALL_AT_ONCE = 10_000  # above any cluster's size: a dead node's pod counts as one that is away


def node_exporter(name: str, images: Images, opts: pulumi.ResourceOptions) -> DaemonSet:
    return DaemonSet(
        name,
        metadata=ObjectMetaArgs(
            name=NAME,
            namespace=AGENTS,
            labels=labels(NAME, "metrics"),
            annotations={"pulumi.com/skipAwait": "true"},  # a dead node's pod holds up nobody; Prometheus tells of it
        ),
        spec=DaemonSetSpecArgs(
            revision_history_limit=3,
            selector=LabelSelectorArgs(match_labels=selector(NAME)),
            update_strategy=DaemonSetUpdateStrategyArgs(
                type="RollingUpdate", rolling_update=RollingUpdateDaemonSetArgs(max_unavailable=ALL_AT_ONCE)
            ),
            template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=labels(NAME, "metrics")), spec=pod(images)),
        ),
        opts=opts,
    )


def pod(images: Images) -> PodSpecArgs:
    """In the nodes' network, whose interfaces it counts; it listens at the node's own address only."""
    address = EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path="status.hostIP"))
    return PodSpecArgs(
        host_network=True,
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-node-critical",
        tolerations=[TolerationArgs(operator="Exists")],
        security_context=pod_security(NOBODY),
        containers=[
            ContainerArgs(
                name=NAME,
                image=image(NAME, images),
                args=arguments(),
                env=[EnvVarArgs(name="NODE_ADDRESS", value_from=address)],
                ports=ports(metrics=NODE_EXPORTER_PORT),
                readiness_probe=http_probe("/", "metrics", period=10, timeout=5, failures=3),
                liveness_probe=http_probe("/", "metrics", period=30, timeout=10, failures=4),
                resources=burstable("20m", "64Mi", cpu_limit="500m"),
                security_context=container_security(),
                volume_mounts=[
                    VolumeMountArgs(name="root", mount_path=ROOT, read_only=True, mount_propagation="HostToContainer"),
                    VolumeMountArgs(name="textfile", mount_path=TEXTFILES, read_only=True),
                ],
            )
        ],
        volumes=[
            VolumeArgs(name="root", host_path=HostPathVolumeSourceArgs(path="/", type="Directory")),
            VolumeArgs(name="textfile", host_path=HostPathVolumeSourceArgs(path=TEXTFILES, type="DirectoryOrCreate")),
        ],
    )


def arguments() -> list[str]:
    """Pods' own file systems and interfaces are left out: the kubelet tells of them, and there are many."""
    return [
        f"--web.listen-address=$(NODE_ADDRESS):{NODE_EXPORTER_PORT}",
        f"--path.rootfs={ROOT}",
        f"--path.procfs={ROOT}/proc",
        f"--path.sysfs={ROOT}/sys",
        f"--collector.textfile.directory={TEXTFILES}",
        "--collector.filesystem.mount-points-exclude=^/(dev|proc|run|sys|var/lib/kubelet/pods|run/containerd)($|/)",
        "--collector.filesystem.fs-types-exclude=^(autofs|cgroup2?|configfs|debugfs|devpts|devtmpfs|fuse.*|hugetlbfs|mqueue"
        "|nsfs|overlay|proc|pstore|securityfs|squashfs|sysfs|tmpfs|tracefs)$",
        "--collector.netdev.device-exclude=^(lo|veth.*|cni.*|flannel.*|kube-.*|dummy.*)$",
        "--collector.netclass.ignored-devices=^(lo|veth.*|cni.*|flannel.*|kube-.*|dummy.*)$",
        "--no-collector.arp",
        "--no-collector.ipvs",
        "--no-collector.wifi",
        "--no-collector.zfs",
    ]
