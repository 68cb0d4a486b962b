"""Prometheus: reads the replicas, the gateway and the GPUs, and computes what the autoscaler asks for and the alerts.

One instance with its samples on the node it runs on. When that node dies another one starts empty elsewhere; the
autoscaler has no metrics meanwhile and holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Service,
    ServiceAccount,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector, token
from components.observability.alerts import Watched, alerts_yaml
from components.observability.prometheus_config import prometheus_yaml, rules_yaml
from components.observability.targets import TARGETS
from components.pods import (
    burstable,
    container_security,
    http_probe,
    leave_dead_nodes,
    pod_security,
    ports,
    scratch,
)
from components.rbac import Account, grant, rule
from components.settings import Images
from components.settings import Prometheus as PrometheusSettings

NAME = "prometheus"
PORT = 9090
NOBODY = 65534
DATA = "/prometheus"
CONFIG = "/etc/prometheus"
# What the newest two hours take beside the blocks that `diskMib` limits (write-ahead log, head chunks), as a share of it.
HEAD_SHARE = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class PrometheusArgs:
    prometheus: PrometheusSettings
    window_seconds: int
    watched: Watched
    runbook_url: str | None
    images: Images
    namespace: pulumi.Input[str]
    namespace_name: str


class Prometheus(pulumi.ComponentResource):
    """Deployment and Service `prometheus`; `url` is where it answers inside the cluster."""

    url: str

    def __init__(self, name: str, args: PrometheusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "Prometheus"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        metadata = ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=labels(NAME, "metrics"))
        account = Account(name=NAME, namespace=args.namespace_name, labels=labels(NAME, "metrics"))
        ServiceAccount(name, metadata=metadata, opts=here)
        for watched in sorted({target.namespace for target in TARGETS}):
            grant(f"{name}-{watched}", account, watched, [rule("", "pods")], here)
        # Named by the engine, so that changed content is a new name and the pod is replaced.
        config = ConfigMap(
            f"{name}-config",
            metadata=ObjectMetaArgs(namespace=args.namespace, labels=labels(NAME, "metrics")),
            data={
                "prometheus.yml": prometheus_yaml(args.prometheus.scrape_seconds, alerting=args.watched.alerting),
                "autoscaling.yml": rules_yaml(args.window_seconds),
                "alerts.yml": alerts_yaml(args.watched, args.runbook_url),
            },
            opts=here,
        )
        Deployment(name, metadata=metadata, spec=deployment_spec(args, config.metadata.name), opts=here)
        Service(
            name,
            metadata=metadata,
            spec=ServiceSpecArgs(
                selector=selector(NAME), ports=[ServicePortArgs(name="http", port=PORT, target_port="http")]
            ),
            opts=here,
        )
        self.url = f"http://{NAME}.{args.namespace_name}.svc:{PORT}"
        self.register_outputs({})


def deployment_spec(args: PrometheusArgs, config: pulumi.Input[str]) -> DeploymentSpecArgs:
    """A new one has samples of every target before the old one goes, so that a changed config loses no metric."""
    return DeploymentSpecArgs(
        replicas=1,
        revision_history_limit=3,
        min_ready_seconds=2 * args.prometheus.scrape_seconds,
        strategy=DeploymentStrategyArgs(
            type="RollingUpdate", rolling_update=RollingUpdateDeploymentArgs(max_surge=1, max_unavailable=0)
        ),
        selector=LabelSelectorArgs(match_labels=selector(NAME)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(NAME, "metrics")), spec=pod_spec(args, config)
        ),
    )


def pod_spec(args: PrometheusArgs, config: pulumi.Input[str]) -> PodSpecArgs:
    room = int(args.prometheus.disk_mib * (1 + HEAD_SHARE)) + 128
    data, data_mount = scratch("data", DATA, f"{room}Mi")
    return PodSpecArgs(
        service_account_name=NAME,
        enable_service_links=False,
        priority_class_name="system-cluster-critical",  # what scales the service goes last
        tolerations=leave_dead_nodes(),
        security_context=pod_security(NOBODY),
        termination_grace_period_seconds=30,
        containers=[
            ContainerArgs(
                name="prometheus",
                image=image("prometheus", args.images),
                args=arguments(args.prometheus),
                ports=ports(http=PORT),
                startup_probe=http_probe("/-/ready", "http", period=2, timeout=5, failures=150),
                readiness_probe=http_probe("/-/ready", "http", period=5, timeout=5, failures=3),
                liveness_probe=http_probe("/-/healthy", "http", period=15, timeout=10, failures=4),
                resources=burstable("100m", f"{args.prometheus.memory_mib}Mi", cpu_limit="2", disk=f"{room + 64}Mi"),
                security_context=container_security(),
                volume_mounts=[data_mount, VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True)],
            )
        ],
        volumes=[data, VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config))],
    )


def arguments(settings: PrometheusSettings) -> list[str]:
    return [
        f"--config.file={CONFIG}/prometheus.yml",
        f"--storage.tsdb.path={DATA}",
        f"--storage.tsdb.retention.time={settings.retention_hours}h",
        f"--storage.tsdb.retention.size={settings.disk_mib}MB",
        f"--web.listen-address=:{PORT}",
    ]
