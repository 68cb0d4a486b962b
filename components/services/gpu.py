"""GPUs for pods: the device plugin that makes them allocatable as `nvidia.com/gpu`, and the exporter of their metrics.

Both run where the label says that there are GPUs, under the RuntimeClass `nvidia`: NVIDIA's runtime makes the CDI description of
the asked-for GPUs when a container starts, from the driver as it is then. So nothing has to be kept current on the node, and it
works with containerd 1.6, which knows no CDI of its own. The mounts are those of NVIDIA's own charts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import yaml
from pulumi_kubernetes.apps.v1 import DaemonSet, DaemonSetSpecArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
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
from pulumi_kubernetes.node.v1 import RuntimeClass

from components.images import image
from components.naming import GPU, GPU_LABEL, GPU_RUNTIME, labels, selector, token
from components.pods import burstable, container_security, http_probe, ports, root_security, scratch
from components.services.gpu_counters import counters_csv
from components.services.gpu_health import GpuHealth, GpuHealthArgs
from components.settings import Gpu, Images, Node
from host.resources import Allocatable, Connection

APP = "nvidia-device-plugin"
EXPORTER = "dcgm-exporter"
NAMESPACE = "kube-system"
CONFIG = "/etc/nvidia-device-plugin"
COUNTERS = "/etc/gpu-counters"
# `cdi` is where the plugin keeps descriptions of its own, and where the lab's stand-in finds how many GPUs it has.
PLUGIN_FOLDERS = {"device-plugins": "/var/lib/kubelet/device-plugins", "cdi": "/var/run/cdi"}
POD_RESOURCES = "/var/lib/kubelet/pod-resources"
EXPORTER_PORT = 9400


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuServicesArgs:
    """`nodes` are those with GPUs; `control_planes` are asked what they can give to pods, once their drivers are there."""

    nodes: tuple[Node, ...]
    control_planes: tuple[Connection, ...]
    gpu: Gpu
    images: Images
    drivers: Mapping[str, pulumi.Resource]  # by node name; none where the GPU operator brings them


class GpuServices(pulumi.ComponentResource):
    """RuntimeClass `nvidia`, DaemonSets `nvidia-device-plugin` and `dcgm-exporter`, unless the GPU operator brings them.

    Then one `<node>-allocatable` for each node with GPUs, whoever made them work; on request what taints a node that lost some.
    """

    def __init__(self, name: str, args: GpuServicesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "GpuServices"), name, None, opts)
        before: list[pulumi.Resource] = []
        if args.gpu.driver.owner != "operator":
            runtime = RuntimeClass(
                f"{name}-runtime",
                metadata=ObjectMetaArgs(name=GPU_RUNTIME, labels=labels(APP, "gpu")),
                handler=GPU_RUNTIME,
                opts=pulumi.ResourceOptions(parent=self),
            )
            config = ConfigMap(
                f"{name}-plugin-config",
                metadata=ObjectMetaArgs(namespace=NAMESPACE, labels=labels(APP, "gpu")),
                data={"config.yaml": plugin_config(args.gpu)},
                opts=pulumi.ResourceOptions(parent=self),
            )
            here = pulumi.ResourceOptions(parent=self, depends_on=[runtime])
            before += [daemon_set(f"{name}-plugin", APP, plugin_pod(args.images, config.metadata.name), here)]
            if args.gpu.dcgm_exporter:
                counters = ConfigMap(
                    f"{name}-counters",
                    metadata=ObjectMetaArgs(namespace=NAMESPACE, labels=labels(EXPORTER, "gpu")),
                    data={"counters.csv": counters_csv()},
                    opts=pulumi.ResourceOptions(parent=self),
                )
                shared = args.gpu.time_slicing.replicas > 1
                pod = exporter_pod(args.images, counters.metadata.name, shared=shared)
                daemon_set(f"{name}-{EXPORTER}", EXPORTER, pod, here)
        amounts = {node.name: node.gpus * args.gpu.time_slicing.replicas for node in args.nodes}
        if args.gpu.taint_sick_nodes:
            GpuHealth(
                f"{name}-health",
                GpuHealthArgs(amounts=amounts, images=args.images),
                pulumi.ResourceOptions(parent=self),
            )
        for node in args.nodes:
            Allocatable(
                f"{node.name}-allocatable",
                node=node.name,
                resource=GPU,
                amount=amounts[node.name],
                peers=args.control_planes,
                deadline_seconds=args.gpu.allocatable_seconds,
                remedy=remedy(node.name, args.gpu),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*before, *own(args.drivers, node)]),
            )
        self.register_outputs({})


def own(drivers: Mapping[str, pulumi.Resource], node: Node) -> list[pulumi.Resource]:
    return [drivers[node.name]] if node.name in drivers else []


def remedy(node: str, gpu: Gpu) -> str:
    """Where to look for GPUs that are missing."""
    if gpu.driver.owner == "operator":
        return "Is the GPU operator installed? Look at the pods of its namespace"
    return (
        f"Run `nvidia-smi` on {node} and look at the log of its pod kube-system/{APP}. "
        f"No such pod: `kubectl label node {node} {GPU_LABEL}=true`"
    )


def daemon_set(name: str, app: str, spec: PodSpecArgs, opts: pulumi.ResourceOptions) -> DaemonSet:
    return DaemonSet(
        name,
        metadata=ObjectMetaArgs(name=app, namespace=NAMESPACE, labels=labels(app, "gpu")),
        spec=DaemonSetSpecArgs(
            revision_history_limit=3,
            selector=LabelSelectorArgs(match_labels=selector(app)),
            template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=labels(app, "gpu")), spec=spec),
        ),
        opts=opts,
    )


def plugin_config(gpu: Gpu) -> str:
    """The device plugin's own configuration file. A container that wants two shares of one GPU gets an error, not one share."""
    config: dict[str, object] = {
        "version": "v1",
        "flags": {
            "migStrategy": "none",
            # On a node whose driver is broken it waits for it instead of being restarted for ever.
            "failOnInitError": False,
            "plugin": {"deviceListStrategy": "envvar", "deviceIDStrategy": "uuid"},
        },
    }
    if gpu.time_slicing.replicas > 1:
        config["sharing"] = {
            "timeSlicing": {
                "failRequestsGreaterThanOne": True,
                "resources": [{"name": GPU, "replicas": gpu.time_slicing.replicas}],
            }
        }
    return yaml.safe_dump(config, sort_keys=False)


def plugin_pod(images: Images, config: pulumi.Input[str]) -> PodSpecArgs:
    """Root without capabilities: kubelet's registration folder belongs to root."""
    folders, mounts = host_folders(PLUGIN_FOLDERS)
    container = ContainerArgs(
        name="plugin",
        image=image(APP, images),
        env=all_gpus({"CONFIG_FILE": f"{CONFIG}/config.yaml"}),
        resources=burstable("10m", "64Mi", cpu_limit="250m"),
        security_context=container_security(),
        volume_mounts=[*mounts, VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True)],
    )
    settings = VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config))
    return gpu_pod(container, [*folders, settings])


def exporter_pod(images: Images, counters: pulumi.Input[str], *, shared: bool) -> PodSpecArgs:
    """Root without capabilities: the kubelet's socket, which says whose a GPU is, belongs to root.

    `counters` is the ConfigMap of what it reports; profiling counters would need SYS_ADMIN.
    """
    folders, mounts = host_folders({"pod-resources": POD_RESOURCES}, read_only=True)
    writable = [scratch("tmp", "/tmp", "64Mi"), scratch("run", "/run", "16Mi")]  # noqa: S108  its embedded engine's files
    container = ContainerArgs(
        name="exporter",
        image=image(EXPORTER, images),
        env=[
            *all_gpus(
                {
                    "DCGM_EXPORTER_LISTEN": f":{EXPORTER_PORT}",
                    "DCGM_EXPORTER_KUBERNETES": "true",
                    # Else it knows no pod of a GPU that several share.
                    **({"KUBERNETES_VIRTUAL_GPUS": "true"} if shared else {}),
                    "DCGM_EXPORTER_COLLECTORS": f"{COUNTERS}/counters.csv",
                }
            ),
            EnvVarArgs(
                name="NODE_NAME",
                value_from=EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path="spec.nodeName")),
            ),
        ],
        ports=ports(metrics=EXPORTER_PORT),
        readiness_probe=http_probe("/health", "metrics", period=10, timeout=5, failures=3),
        liveness_probe=http_probe("/health", "metrics", period=30, timeout=10, failures=10),
        resources=burstable("50m", "512Mi", cpu_limit="500m", disk="200Mi"),
        security_context=container_security(),
        volume_mounts=[
            *mounts,
            VolumeMountArgs(name="counters", mount_path=COUNTERS, read_only=True),
            *(mount for _, mount in writable),
        ],
    )
    file = VolumeArgs(name="counters", config_map=ConfigMapVolumeSourceArgs(name=counters))
    return gpu_pod(container, [*folders, file, *(volume for volume, _ in writable)])


def gpu_pod(container: ContainerArgs, volumes: list[VolumeArgs]) -> PodSpecArgs:
    """A pod that sees all GPUs of its node without taking one."""
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-node-critical",
        runtime_class_name=GPU_RUNTIME,
        node_selector={GPU_LABEL: "true"},
        tolerations=[TolerationArgs(operator="Exists")],
        security_context=root_security(),
        termination_grace_period_seconds=5,
        containers=[container],
        volumes=volumes,
    )


def all_gpus(more: Mapping[str, str]) -> list[EnvVarArgs]:
    """What NVIDIA's runtime goes by: every GPU, the libraries for computing and for looking at them."""
    every = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    return [EnvVarArgs(name=name, value=value) for name, value in (every | dict(more)).items()]


def host_folders(
    paths: Mapping[str, str], *, read_only: bool = False
) -> tuple[list[VolumeArgs], list[VolumeMountArgs]]:
    """Folders of the node, at the same place in the container."""
    volumes = [
        VolumeArgs(name=name, host_path=HostPathVolumeSourceArgs(path=path, type="DirectoryOrCreate"))
        for name, path in paths.items()
    ]
    return volumes, [VolumeMountArgs(name=name, mount_path=path, read_only=read_only) for name, path in paths.items()]
