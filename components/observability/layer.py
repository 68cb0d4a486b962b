"""Layer 5, observability: the metrics that the autoscaler follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.naming import PART_OF, labels, token
from components.observability import metrics_server, prometheus_adapter
from components.observability.extension_api import ExtensionApi
from components.observability.prometheus import Prometheus, PrometheusArgs
from components.pods import restricted
from components.settings import Images, Settings
from components.settings import Prometheus as PrometheusSettings

NAMESPACE = "observability"


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricChainArgs:
    prometheus: PrometheusSettings
    window_seconds: int
    images: Images
    workers: int  # nodes that can run a replica


class MetricChain(pulumi.ComponentResource):
    """metrics-server for CPU; Prometheus and its adapter for GPU utilisation and requests in flight."""

    def __init__(self, name: str, args: MetricChainArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "MetricChain"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        namespace = Namespace(
            f"{name}-namespace",
            metadata=ObjectMetaArgs(name=NAMESPACE, labels=labels(PART_OF, "metrics") | restricted()),
            opts=here,
        )
        home = namespace.metadata.name
        prometheus = Prometheus(
            "prometheus",
            PrometheusArgs(
                prometheus=args.prometheus,
                window_seconds=args.window_seconds,
                images=args.images,
                namespace=home,
                namespace_name=NAMESPACE,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
        )
        replicas = min(2, args.workers)
        after = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
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
                scrape_seconds=args.prometheus.scrape_seconds,
            ),
            after,
        )
        self.register_outputs({})


def observability(
    settings: Settings,
    *,
    ssh: pulumi.ProviderResource,
    provider: pulumi.ProviderResource,
    after: Sequence[pulumi.Resource],
) -> None:
    """Nothing where nothing scales. `ssh` makes the certificates; `after` brings the namespaces that are read."""
    if not settings.autoscaling.enabled:
        return
    MetricChain(
        "observability",
        MetricChainArgs(
            prometheus=settings.observability.prometheus,
            window_seconds=settings.autoscaling.window_seconds,
            images=settings.images,
            workers=len(settings.workers),
        ),
        pulumi.ResourceOptions(providers=[provider, ssh], depends_on=after),
    )
