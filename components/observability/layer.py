"""Layer 5, observability: the metrics that the autoscaler follows, and the alerts on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components import traffic
from components.naming import PART_OF, labels, token
from components.network_policies import NetworkPolicies, Policies, network_policies
from components.observability import metrics_server, prometheus_adapter
from components.observability.alerts import Watched, certificate
from components.observability.extension_api import ExtensionApi
from components.observability.image_scan import ImageScan, ImageScanArgs
from components.observability.jaeger import Jaeger, JaegerArgs
from components.observability.node_agents import node_agents
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
    scaling: bool  # the autoscaler asks for metrics
    policies: Policies = field(default_factory=dict)


class MetricChain(pulumi.ComponentResource):
    """metrics-server for CPU; Prometheus and its adapter for GPU utilisation and requests in flight; the scan of images."""

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
        if args.jaeger:
            Jaeger(
                "jaeger",
                JaegerArgs(traces=args.observability.traces, images=args.images, namespace=home),
                after,
            )
        if args.scaling:
            self._extension_apis(args, home, prometheus, after)
        self.register_outputs({})

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
    scan = settings.observability.image_scan
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
    )


def observability(
    settings: Settings,
    *,
    ssh: pulumi.ProviderResource,
    provider: pulumi.ProviderResource,
    after: Sequence[pulumi.Resource],
) -> None:
    """Nothing where it is off. `ssh` makes the certificates; `after` brings the namespaces that are read."""
    if not settings.observability.enabled:
        return
    MetricChain(
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
            scaling=settings.autoscaling.enabled,
            policies=network_policies(settings, traffic.METRICS, traffic.AGENTS),
        ),
        pulumi.ResourceOptions(providers=[provider, ssh], depends_on=after),
    )
