"""NVIDIA's device plugin: makes the GPUs of a node allocatable as `nvidia.com/gpu`.

It runs on every worker, since it is the plugin that knows whether there is a GPU; without one it waits and costs nothing. The
mounts are those of NVIDIA's own chart: kubelet's registration folder, and the folder of device descriptions (CDI).
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import DaemonSet, DaemonSetSpecArgs
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    EnvVarArgs,
    HostPathVolumeSourceArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector, token
from components.pods import burstable, container_security
from components.settings import Images

APP = "nvidia-device-plugin"
HOST_FOLDERS = {"device-plugins": "/var/lib/kubelet/device-plugins", "cdi": "/var/run/cdi"}


@dataclass(frozen=True, kw_only=True, slots=True)
class NvidiaDevicePluginArgs:
    images: Images
    runtime_class: str | None = None  # RuntimeClass whose handler injects the driver; absent where that is the default


class NvidiaDevicePlugin(pulumi.ComponentResource):
    """The DaemonSet `nvidia-device-plugin` in kube-system."""

    def __init__(self, name: str, args: NvidiaDevicePluginArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "NvidiaDevicePlugin"), name, None, opts)
        DaemonSet(
            name,
            metadata=ObjectMetaArgs(name=APP, namespace="kube-system", labels=labels(APP, "gpu")),
            spec=DaemonSetSpecArgs(
                revision_history_limit=3,
                selector=LabelSelectorArgs(match_labels=selector(APP)),
                template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=labels(APP, "gpu")), spec=pod_spec(args)),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def pod_spec(args: NvidiaDevicePluginArgs) -> PodSpecArgs:
    """Root without capabilities: kubelet's registration folder belongs to root."""
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-node-critical",
        runtime_class_name=args.runtime_class,
        node_selector={"kubernetes.io/os": "linux"},
        tolerations=[TolerationArgs(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        termination_grace_period_seconds=5,
        containers=[
            ContainerArgs(
                name="plugin",
                image=image("nvidia-device-plugin", args.images),
                env=[
                    EnvVarArgs(name="NVIDIA_VISIBLE_DEVICES", value="all"),
                    EnvVarArgs(name="NVIDIA_DRIVER_CAPABILITIES", value="compute,utility"),
                    # On a worker without a GPU it waits instead of being restarted for ever.
                    EnvVarArgs(name="FAIL_ON_INIT_ERROR", value="false"),
                ],
                resources=burstable("10m", "64Mi", cpu_limit="250m"),
                security_context=container_security(),
                volume_mounts=[VolumeMountArgs(name=each, mount_path=path) for each, path in HOST_FOLDERS.items()],
            )
        ],
        volumes=[
            VolumeArgs(name=each, host_path=HostPathVolumeSourceArgs(path=path, type="DirectoryOrCreate"))
            for each, path in HOST_FOLDERS.items()
        ],
    )
