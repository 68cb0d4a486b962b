"""Layer 5, observability: the metrics that the autoscaler follows, and the alerts on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components import traffic
from components.alert_secrets import AlertSecrets
from components.network_policies import network_policies
from components.observability.alerts import Watched, certificate
from components.observability.dashboards import Parts
from components.observability.grafana import GrafanaArgs, GrafanaSecrets
from components.observability.grafana_config import DataSource
from components.observability.metric_chain import MetricChain, MetricChainArgs
from components.observability.operator_objects import read
from components.observability.scanned_images import scanned_images
from components.settings import Settings
from components.tracing import jaeger_runs

NAMESPACE = traffic.METRICS


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
        own_prometheus=settings.observability.operator is None,
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

    at, operator = f"{NAMESPACE}.svc", settings.observability.operator
    prometheus = operator.url if operator else f"http://prometheus.{at}:9090"
    known = watched(settings)
    sources = (
        DataSource(type="prometheus", name="Prometheus", url=prometheus),
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
            prometheus=runs("prometheus"),
        ),
        sources=tuple(source for source in sources if source.type == "prometheus" or runs(source.type)),
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
            targets=read(traffic.workloads(settings)),
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
