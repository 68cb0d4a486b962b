"""The parts that watch the service, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.alert_secrets import AlertSecrets
from components.naming import PART_OF, labels, token
from components.network_policies import NetworkPolicies, Policies
from components.observability import metrics_server, prometheus_adapter
from components.observability.alertmanager import Alertmanager, AlertmanagerArgs
from components.observability.alerts import Watched
from components.observability.extension_api import ExtensionApi
from components.observability.grafana import Grafana, GrafanaArgs
from components.observability.image_scan import ImageScan, ImageScanArgs
from components.observability.jaeger import Jaeger, JaegerArgs
from components.observability.kube_state_metrics import kube_state_metrics
from components.observability.log_collector import LogCollector, LogCollectorArgs
from components.observability.loki import Loki, LokiArgs
from components.observability.node_agents import node_agents
from components.observability.node_exporter import node_exporter
from components.observability.operated_prometheus import OperatedPrometheus, OperatedPrometheusArgs
from components.observability.prometheus import Prometheus, PrometheusArgs
from components.observability.targets import Target
from components.pods import restricted
from components.settings import Images, Observability
from components.traffic import METRICS as NAMESPACE


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricChainArgs:
    observability: Observability
    window_seconds: int
    watched: Watched
    images: Images
    scanned: Mapping[str, str]  # images by name; none where nothing is scanned
    mirror: str | None  # of images
    targets: tuple[Target, ...]  # that there are
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
        url = self._prometheus(args, home, after)
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
            self._extension_apis(args, home, url, after)
        self.register_outputs({})

    def _prometheus(self, args: MetricChainArgs, home: pulumi.Input[str], after: pulumi.ResourceOptions) -> str:
        """Ours, or an operator's that is told the same; where it answers."""
        if operator := args.observability.operator:
            return OperatedPrometheus(
                "prometheus",
                OperatedPrometheusArgs(
                    operator=operator,
                    scrape_seconds=args.observability.prometheus.scrape_seconds,
                    window_seconds=args.window_seconds,
                    watched=args.watched,
                    runbook_url=args.observability.runbook_url,
                    targets=args.targets,
                    api_port=args.api_port,
                    namespace=home,
                    namespace_name=NAMESPACE,
                ),
                after,
            ).url
        return Prometheus(
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
        ).url

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
        prometheus_url: str,
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
                prometheus_url=prometheus_url,
                scrape_seconds=args.observability.prometheus.scrape_seconds,
            ),
            after,
        )
