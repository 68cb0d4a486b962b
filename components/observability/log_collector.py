"""The collector of logs, on every node: containers', the journal of kubelet and containerd, and the API server's audit log.

It reads files of root's, so it is root without any capability; it asks nobody in the cluster anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import (
    DaemonSet,
    DaemonSetSpecArgs,
    DaemonSetUpdateStrategyArgs,
    RollingUpdateDaemonSetArgs,
)
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

from components.images import image
from components.naming import labels, selector, token
from components.observability.log_collector_config import HEALTH_PORT, METRICS_PORT, STATE, collector_yaml
from components.pods import burstable, container_security, http_probe, ports, root_security
from components.settings import Images
from components.settings.logs import Logs

NAME = "log-collector"
CONFIG = "/etc/log-collector"
STATE_ON_NODE = "/var/lib/qwen3-vl/log-collector"
READ = {"logs": "/var/log", "volatile-logs": "/run/log"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LogCollectorArgs:
    logs: Logs
    images: Images
    namespace: pulumi.Input[str]
    url: str  # of Loki


class LogCollector(pulumi.ComponentResource):
    """DaemonSet `log-collector`."""

    def __init__(self, name: str, args: LogCollectorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "LogCollector"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        named = labels(NAME, "logs")
        config = ConfigMap(
            f"{name}-config",
            metadata=ObjectMetaArgs(namespace=args.namespace, labels=named),
            data={"collector.yaml": collector_yaml(args.logs, args.url)},
            opts=here,
        )
        DaemonSet(
            name,
            metadata=ObjectMetaArgs(
                name=NAME,
                namespace=args.namespace,
                labels=named,
                annotations={"pulumi.com/skipAwait": "true"},  # a dead node is no reason to fail
            ),
            spec=DaemonSetSpecArgs(
                revision_history_limit=3,
                selector=LabelSelectorArgs(match_labels=selector(NAME)),
                update_strategy=DaemonSetUpdateStrategyArgs(
                    type="RollingUpdate", rolling_update=RollingUpdateDaemonSetArgs(max_unavailable="100%")
                ),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=named), spec=pod_spec(args, config.metadata.name)
                ),
            ),
            opts=here,
        )
        self.register_outputs({})


def pod_spec(args: LogCollectorArgs, config: pulumi.Input[str]) -> PodSpecArgs:
    node = EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path="spec.nodeName"))
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-node-critical",  # a node that is full is one whose logs are wanted
        tolerations=[TolerationArgs(operator="Exists")],  # every node has logs, a sick one above all
        security_context=root_security(),
        termination_grace_period_seconds=20,
        containers=[
            ContainerArgs(
                name="collector",
                image=image("log-collector", args.images),
                args=[f"--config={CONFIG}/collector.yaml"],
                env=[
                    EnvVarArgs(name="NODE_NAME", value_from=node),
                    EnvVarArgs(name="GOMEMLIMIT", value=f"{args.logs.collector_memory_mib * 8 // 10}MiB"),
                ],
                ports=ports(metrics=METRICS_PORT, health=HEALTH_PORT),
                startup_probe=http_probe("/", "health", period=2, timeout=5, failures=60),
                readiness_probe=http_probe("/", "health", period=10, timeout=5, failures=3),
                liveness_probe=http_probe("/", "health", period=20, timeout=10, failures=6),
                resources=burstable("25m", f"{args.logs.collector_memory_mib}Mi", cpu_limit="500m"),
                security_context=container_security(),
                volume_mounts=[
                    VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True),
                    VolumeMountArgs(name="state", mount_path=STATE),
                    *(VolumeMountArgs(name=name, mount_path=path, read_only=True) for name, path in READ.items()),
                ],
            )
        ],
        volumes=[
            VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config)),
            VolumeArgs(name="state", host_path=HostPathVolumeSourceArgs(path=STATE_ON_NODE, type="DirectoryOrCreate")),
            *(
                VolumeArgs(name=name, host_path=HostPathVolumeSourceArgs(path=path, type="Directory"))
                for name, path in READ.items()
            ),
        ],
    )
