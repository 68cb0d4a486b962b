"""Layer 5, observability: the metrics that the autoscaler follows, and the alerts on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components import traffic
from components.alert_secrets import AlertSecrets
from components.naming import PART_OF, labels, token
from components.network_policies import NetworkPolicies, Policies, network_policies
from components.observability import metrics_server, prometheus_adapter
from components.observability.alertmanager import Alertmanager, AlertmanagerArgs
from components.observability.alerts import Watched, certificate
from components.observability.dashboards import Parts
from components.observability.extension_api import ExtensionApi
from components.observability.grafana import Grafana, GrafanaArgs, GrafanaSecrets
from components.observability.grafana_config import DataSource
from components.observability.image_scan import ImageScan, ImageScanArgs
from components.observability.jaeger import Jaeger, JaegerArgs
from components.observability.kube_state_metrics import kube_state_metrics
from components.observability.log_collector import LogCollector, LogCollectorArgs
from components.observability.loki import Loki, LokiArgs
from components.observability.node_agents import node_agents
from components.observability.node_exporter import node_exporter
from components.observability.prometheus import Prometheus, PrometheusArgs
from components.observability.scanned_images import scanned_images
from components.pods import restricted
from components.settings import Images, Observability, Settings
from components.tracing import jaeger_runs

NAMESPACE = "observability"


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricChainArgs:
    observability: Observability
    window_seconds: int
    watched: Watched
    images: Images
    scanned: Mapping[str, str]  # images by name; none where nothing is scanned
    mirror: str | None  # of images
    jaeger: bool  # requests are followed, and told to a Jaeger of ours
    workers: int  # nodes that can run a replica
    api_port: int
    remote_write_credential: pulumi.Output[str] | None  # secret
    scaling: bool  # the autoscaler asks for metrics
    dns_domain: str
    logs_s3: tuple[pulumi.Output[str], pulumi.Output[str]] | None = None  # secret; access key and secret key
    grafana: GrafanaArgs | None = None
    alert_secrets: AlertSecrets = field(default_factory=AlertSecrets)
    policies: Policies = field(default_factory=dict)


class MetricChain(pulumi.ComponentResource):
    """metrics-server for CPU; Prometheus and its adapter for GPU utilisation and requests in flight; the scan of images."""

    grafana_admin_password: pulumi.Output[str] | None = None

    def __init__(self, name: str, args: MetricChainArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "MetricChain"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        namespace = Namespace(
            f"{name}-namespace",
            metadata=ObjectMetaArgs(name=NAMESPACE, labels=labels(PART_OF, "metrics") | restricted()),
            opts=here,
        )
        agents = node_agents(f"{name}-node-agents", here)
        home = namespace.metadata.name
        policies = NetworkPolicies(
            f"{name}-policies", args.policies, pulumi.ResourceOptions(parent=self, depends_on=[namespace, agents])
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[namespace, agents, policies])
        prometheus = Prometheus(
            "prometheus",
            PrometheusArgs(
                prometheus=args.observability.prometheus,
                window_seconds=args.window_seconds,
                watched=args.watched,
                runbook_url=args.observability.runbook_url,
                replicas=min(2, args.workers),
                api_port=args.api_port,
                credential=args.remote_write_credential,
                images=args.images,
                namespace=home,
                namespace_name=NAMESPACE,
            ),
            after,
        )
        node_exporter("node-exporter", args.images, after)
        kube_state_metrics("kube-state-metrics", args.images, home, NAMESPACE, after)
        if args.watched.alerting:
            Alertmanager(
                "alertmanager",
                AlertmanagerArgs(
                    alerting=args.observability.alerting,
                    secrets=args.alert_secrets,
                    replicas=min(2, args.workers),
                    images=args.images,
                    namespace=home,
                    namespace_name=NAMESPACE,
                ),
                after,
            )
        if args.scanned:
            ImageScan(
                "image-scan",
                ImageScanArgs(
                    scan=args.observability.image_scan,
                    scanned=args.scanned,
                    images=args.images,
                    mirror=args.mirror,
                    namespace=home,
                    namespace_name=NAMESPACE,
                ),
                after,
            )
        if args.observability.logs.enabled:
            self._logs(args, home, agents.metadata.name, after)
        if args.grafana is not None:
            self.grafana_admin_password = Grafana("grafana", args.grafana, after).admin_password
        if args.jaeger:
            Jaeger(
                "jaeger",
                JaegerArgs(
                    traces=args.observability.traces,
                    images=args.images,
                    namespace=home,
                    asked=args.grafana is not None,
                ),
                after,
            )
        if args.scaling:
            self._extension_apis(args, home, prometheus, after)
        self.register_outputs({})

    def _logs(
        self,
        args: MetricChainArgs,
        home: pulumi.Input[str],
        agents: pulumi.Input[str],
        after: pulumi.ResourceOptions,
    ) -> None:
        """Where logs are kept, and what brings them."""
        store = Loki(
            "loki",
            LokiArgs(
                logs=args.observability.logs,
                images=args.images,
                namespace=home,
                namespace_name=NAMESPACE,
                workers=args.workers,
                dns_domain=args.dns_domain,
                keys=args.logs_s3,
            ),
            after,
        )
        LogCollector(
            "log-collector",
            LogCollectorArgs(logs=args.observability.logs, images=args.images, namespace=agents, url=store.url),
            after,
        )

    def _extension_apis(
        self,
        args: MetricChainArgs,
        home: pulumi.Input[str],
        prometheus: Prometheus,
        after: pulumi.ResourceOptions,
    ) -> None:
        """What the autoscaler asks."""
        replicas = min(2, args.workers)
        ExtensionApi(
            metrics_server.NAME,
            metrics_server.metrics_server(
                images=args.images, replicas=replicas, namespace=home, namespace_name=NAMESPACE
            ),
            after,
        )
        ExtensionApi(
            prometheus_adapter.NAME,
            prometheus_adapter.prometheus_adapter(
                images=args.images,
                replicas=replicas,
                namespace=home,
                namespace_name=NAMESPACE,
                prometheus_url=prometheus.url,
                scrape_seconds=args.observability.prometheus.scrape_seconds,
            ),
            after,
        )


def watched(settings: Settings) -> Watched:
    """What the alerts have to know, and nothing of single nodes: another content would make another pod of Prometheus.

    TensorRT-LLM's server has no metrics in Prometheus' format at `/metrics`.
    """
    scaling, inference, gpu = settings.autoscaling, settings.inference, settings.gpu
    scan, backup = settings.observability.image_scan, settings.kubernetes.backup
    logs = settings.observability.logs
    return Watched(
        objective=settings.observability.objective,
        retention_hours=settings.observability.prometheus.retention_hours,
        start_seconds=inference.step_seconds,
        replicas=settings.replica_bounds.fewest,
        gpu_exporter=gpu.dcgm_exporter and gpu.driver.owner != "operator",
        scaling=scaling.enabled,
        gpu_scaling=scaling.enabled and scaling.gpu_utilization > 0,
        redis_members=settings.redis_replicas,
        vllm=inference.engine == "vllm",
        certificate_days=certificate.early_days(settings.ingress.tls),
        image_scan=scan if scan.enabled else None,
        acme=settings.ingress.tls.acme is not None,
        traces=jaeger_runs(settings),
        logs=logs.enabled,
        logs_seconds=logs.retention_hours * 3600,
        logs_disk_mib=logs.disk_mib if logs.storage.kind == "disk" else None,
        backup_hours=backup.every_hours if backup.enabled else None,
        alerting=settings.observability.told.on,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """For the operator; secrets are secret outputs."""

    grafana_url: str | None = None
    grafana_admin_password: pulumi.Output[str] | None = None


def grafana_args(settings: Settings, secrets: GrafanaSecrets) -> GrafanaArgs | None:
    """What else there is to be shown is what the stack runs of it."""
    grafana = settings.observability.grafana
    if not grafana.enabled:
        return None
    running = set(traffic.workloads(settings))

    def runs(app: str) -> bool:
        return traffic.Pods(NAMESPACE, app) in running

    at = f"{NAMESPACE}.svc"
    known = watched(settings)
    sources = (
        DataSource(type="prometheus", name="Prometheus", url=f"http://prometheus.{at}:9090"),
        DataSource(type="loki", name="Loki", url=f"http://loki.{at}:3100"),
        DataSource(type="jaeger", name="Jaeger", url=f"http://jaeger.{at}:16686"),
    )
    return GrafanaArgs(
        grafana=grafana,
        secrets=secrets,
        parts=Parts(
            objective=known.objective,
            retention_hours=known.retention_hours,
            replicas=known.replicas,
            vllm=known.vllm,
            gpus=known.gpu_exporter,
            redis_group=known.redis_members > 1,
            image_scan=known.image_scan is not None,
            nodes=runs("kube-state-metrics"),
            alertmanager=runs("alertmanager"),
            logs=runs("loki"),
        ),
        sources=tuple(source for source in sources if runs(source.type)),
        ingress=settings.ingress,
        images=settings.images,
        namespace=NAMESPACE,
        namespace_name=NAMESPACE,
        dns_domain=settings.kubernetes.dns_domain,
    )


def observability(
    settings: Settings,
    alert_secrets: AlertSecrets,
    *,
    remote_write_credential: pulumi.Output[str] | None = None,
    grafana: GrafanaSecrets | None = None,
    logs_s3: tuple[pulumi.Output[str], pulumi.Output[str]] | None = None,
    ssh: pulumi.ProviderResource,
    provider: pulumi.ProviderResource,
    after: Sequence[pulumi.Resource],
) -> Observed:
    """Nothing where it is off. `ssh` makes the certificates; `after` brings the namespaces that are read."""
    if not settings.observability.enabled:
        return Observed()
    shown = grafana_args(settings, grafana or GrafanaSecrets())
    chain = MetricChain(
        "observability",
        MetricChainArgs(
            observability=settings.observability,
            window_seconds=settings.autoscaling.window_seconds,
            watched=watched(settings),
            images=settings.images,
            scanned=scanned_images(settings) if settings.observability.image_scan.enabled else {},
            mirror=settings.mirrors.images,
            jaeger=jaeger_runs(settings),
            workers=len(settings.workers),
            api_port=settings.kubernetes.api_port,
            remote_write_credential=remote_write_credential,
            grafana=shown,
            scaling=settings.autoscaling.enabled,
            dns_domain=settings.kubernetes.dns_domain,
            logs_s3=logs_s3,
            alert_secrets=alert_secrets,
            policies=network_policies(settings, traffic.METRICS, traffic.AGENTS),
        ),
        pulumi.ResourceOptions(providers=[provider, ssh], depends_on=after),
    )
    host = shown.grafana.host if shown else None
    scheme = "https" if settings.ingress.tls.on else "http"
    return Observed(
        grafana_url=f"{scheme}://{host}/" if host else None,
        grafana_admin_password=chain.grafana_admin_password,
    )
