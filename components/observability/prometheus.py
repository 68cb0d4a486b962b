"""Prometheus: reads the replicas, the gateway and the GPUs, and computes what the autoscaler asks for and the alerts.

Two on different nodes, where there are two workers. Both read everything and compute every rule, and neither knows of the other:
what one has lost the other still shows (docs/adr/0026). Each keeps its samples on its node, through restarts and reboots. Another
configuration is read while they run, so that it costs neither its samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet, StatefulSetSpecArgs, StatefulSetUpdateStrategyArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    ObjectFieldSelectorArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Secret,
    SecretVolumeSourceArgs,
    Service,
    ServiceAccount,
    ServicePortArgs,
    ServiceSpecArgs,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.images import image
from components.naming import labels, selector, token
from components.observability.alerts import Watched, alerts_yaml
from components.observability.prometheus_config import CREDENTIAL_FOLDER, prometheus_yaml, rules_yaml
from components.observability.targets import TARGETS
from components.pods import apart, budget, burstable, container_security, http_probe, pod_security, ports, scratch
from components.rbac import Account, grant, grant_in_cluster, paths, rule
from components.settings import Images
from components.settings import Prometheus as PrometheusSettings

NAME = "prometheus"
PORT = 9090
NOBODY = 65534
CONFIG_MAP = "prometheus-config"
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
    replicas: int
    api_port: int
    credential: pulumi.Output[str] | None  # secret, of `prometheus.remoteWrite`
    images: Images
    namespace: pulumi.Input[str]
    namespace_name: str


class Prometheus(pulumi.ComponentResource):
    """StatefulSet and Service `prometheus`; `url` is where it answers inside the cluster."""

    url: str

    def __init__(self, name: str, args: PrometheusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "Prometheus"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        metadata = ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=labels(NAME, "metrics"))
        account = Account(name=NAME, namespace=args.namespace_name, labels=labels(NAME, "metrics"))
        ServiceAccount(name, metadata=metadata, opts=here)
        for watched in sorted({target.namespace for target in TARGETS}):
            grant(f"{name}-{watched}", account, watched, [rule("", "pods")], here)
        nodes = [rule("", "nodes"), rule("", "nodes/metrics", verbs=("get",)), paths("/metrics")]
        grant_in_cluster(f"{name}-nodes", account, nodes, here)
        secret = None
        if args.prometheus.remote_write and args.credential is not None:
            secret = Secret(
                f"{name}-remote-write",
                metadata=ObjectMetaArgs(
                    name=f"{NAME}-remote-write", namespace=args.namespace, labels=labels(NAME, "metrics")
                ),
                string_data={"token": args.credential},
                opts=here,
            )
        # By a fixed name: kubelets bring other content to the pods, which read it without a restart.
        config = ConfigMap(
            f"{name}-config",
            metadata=ObjectMetaArgs(name=CONFIG_MAP, namespace=args.namespace, labels=labels(NAME, "metrics")),
            data={
                "prometheus.yml": prometheus_yaml(
                    args.prometheus.scrape_seconds,
                    args.api_port,
                    args.prometheus.remote_write,
                    secret is not None,
                    alerting=args.watched.alerting,
                ),
                "autoscaling.yml": rules_yaml(args.window_seconds),
                "alerts.yml": alerts_yaml(args.watched, args.runbook_url),
            },
            opts=here,
        )
        if args.replicas > 1:
            PodDisruptionBudget(name, metadata=metadata, spec=budget(selector(NAME)), opts=here)
        StatefulSet(
            name,
            metadata=metadata,
            spec=stateful_set_spec(args, CONFIG_MAP, secret.metadata.name if secret else None),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config]),
        )
        Service(
            name,
            metadata=metadata,
            spec=ServiceSpecArgs(
                # The adapter stays with one of the two, whose numbers do not jump.
                session_affinity="ClientIP",
                selector=selector(NAME),
                ports=[ServicePortArgs(name="http", port=PORT, target_port="http")],
            ),
            opts=here,
        )
        self.url = f"http://{NAME}.{args.namespace_name}.svc:{PORT}"
        self.register_outputs({})


def stateful_set_spec(
    args: PrometheusArgs, config: pulumi.Input[str], secret: pulumi.Input[str] | None
) -> StatefulSetSpecArgs:
    """One after the other: the second is replaced when the first has samples of every target."""
    return StatefulSetSpecArgs(
        replicas=args.replicas,
        service_name=NAME,
        revision_history_limit=3,
        min_ready_seconds=2 * args.prometheus.scrape_seconds,
        pod_management_policy="Parallel",  # a dead node's does not hold up the start of the other
        update_strategy=StatefulSetUpdateStrategyArgs(type="RollingUpdate"),
        selector=LabelSelectorArgs(match_labels=selector(NAME)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(NAME, "metrics")), spec=pod_spec(args, config, secret)
        ),
    )


def stay_on_dead_nodes() -> list[TolerationArgs]:
    """A StatefulSet has no other pod for it meanwhile, and a node that comes back still has its samples."""
    return [
        TolerationArgs(key=f"node.kubernetes.io/{state}", operator="Exists", effect="NoExecute")
        for state in ("not-ready", "unreachable")
    ]


def pod_spec(args: PrometheusArgs, config: pulumi.Input[str], secret: pulumi.Input[str] | None) -> PodSpecArgs:
    room = int(args.prometheus.disk_mib * (1 + HEAD_SHARE)) + 128
    data, data_mount = scratch("data", DATA, f"{room}Mi")
    name = EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path="metadata.name"))
    mounts = [data_mount, VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True)]
    volumes = [data, VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config))]
    if secret is not None:
        mounts.append(VolumeMountArgs(name="remote-write", mount_path=CREDENTIAL_FOLDER, read_only=True))
        volumes.append(VolumeArgs(name="remote-write", secret=SecretVolumeSourceArgs(secret_name=secret)))
    return PodSpecArgs(
        affinity=apart(selector(NAME)),
        service_account_name=NAME,
        enable_service_links=False,
        priority_class_name="system-cluster-critical",  # what scales the service goes last
        tolerations=stay_on_dead_nodes(),
        security_context=pod_security(NOBODY),
        termination_grace_period_seconds=30,
        containers=[
            ContainerArgs(
                name="prometheus",
                image=image("prometheus", args.images),
                args=arguments(args.prometheus),
                env=[EnvVarArgs(name="POD_NAME", value_from=name)],
                ports=ports(http=PORT),
                startup_probe=http_probe("/-/ready", "http", period=2, timeout=5, failures=150),
                readiness_probe=http_probe("/-/ready", "http", period=5, timeout=5, failures=3),
                liveness_probe=http_probe("/-/healthy", "http", period=15, timeout=10, failures=4),
                resources=burstable("100m", f"{args.prometheus.memory_mib}Mi", cpu_limit="2", disk=f"{room + 64}Mi"),
                security_context=container_security(),
                volume_mounts=mounts,
            )
        ],
        volumes=volumes,
    )


def arguments(settings: PrometheusSettings) -> list[str]:
    return [
        f"--config.file={CONFIG}/prometheus.yml",
        f"--storage.tsdb.path={DATA}",
        f"--storage.tsdb.retention.time={settings.retention_hours}h",
        f"--storage.tsdb.retention.size={settings.disk_mib}MB",
        f"--web.listen-address=:{PORT}",
        # What the kubelet has brought is taken if it is sound; otherwise it goes on with what it had. Exemplars: beside a value
        # the trace of a request that was counted in it.
        "--enable-feature=auto-reload-config,exemplar-storage",
        "--config.auto-reload-interval=15s",
    ]
