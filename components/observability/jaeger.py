"""Jaeger: takes spans and answers questions about traces (docs/adr/0031).

One instance with its traces on the node it runs on, in Badger: a trace is for the days after a complaint and not a record.
Whoever tells it spans serves on without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import yaml
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs, DeploymentStrategyArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    EnvVarArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector, token
from components.pods import burstable, container_security, http_probe, leave_dead_nodes, pod_security, ports, scratch
from components.settings import Images
from components.settings.traces import Traces
from components.tracing import JAEGER, JAEGER_METRICS_PORT, JAEGER_QUERY_PORT, OTLP_HTTP_PORT

NAME = JAEGER
USER = 10001  # the image's own
DATA, CONFIG = "/badger", "/etc/jaeger"
HEALTH_PORT = 13133
TAKES = {"otlp-http": OTLP_HTTP_PORT}
ANSWERS = {"query": JAEGER_QUERY_PORT}
STORE = "badger"
# What one request may hold in memory on its way to the disk, as a share of all memory; beyond, senders are told to wait.
MEMORY_PERCENT, SPIKE_PERCENT = 75, 15


@dataclass(frozen=True, kw_only=True, slots=True)
class JaegerArgs:
    traces: Traces
    images: Images
    namespace: pulumi.Input[str]
    asked: bool  # by Grafana; `kubectl port-forward` needs neither Service nor policy


class Jaeger(pulumi.ComponentResource):
    """Deployment and Service `jaeger`."""

    def __init__(self, name: str, args: JaegerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "Jaeger"), name, None, opts)
        served = TAKES | (ANSWERS if args.asked else {})
        here = pulumi.ResourceOptions(parent=self)
        metadata = ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=labels(NAME, "traces"))
        config = ConfigMap(  # named by the engine, so that changed content makes a new pod
            f"{name}-config",
            metadata=ObjectMetaArgs(namespace=args.namespace, labels=labels(NAME, "traces")),
            data={"config.yaml": jaeger_yaml(args.traces)},
            opts=here,
        )
        Deployment(
            name,
            metadata=metadata,
            spec=DeploymentSpecArgs(
                replicas=1,
                revision_history_limit=3,
                strategy=DeploymentStrategyArgs(type="Recreate"),  # two would each have half of a trace
                selector=LabelSelectorArgs(match_labels=selector(NAME)),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=labels(NAME, "traces")), spec=pod_spec(args, config.metadata.name)
                ),
            ),
            opts=here,
        )
        Service(
            name,
            metadata=metadata,
            spec=ServiceSpecArgs(
                selector=selector(NAME),
                ports=[ServicePortArgs(name=each, port=port, target_port=each) for each, port in served.items()],
            ),
            opts=here,
        )
        self.register_outputs({})


def pod_spec(args: JaegerArgs, config: pulumi.Input[str]) -> PodSpecArgs:
    data, data_mount = scratch("data", DATA, f"{args.traces.disk_mib}Mi")
    tmp, tmp_mount = scratch("tmp", "/tmp", "16Mi")  # noqa: S108
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        tolerations=leave_dead_nodes(),
        security_context=pod_security(USER),
        termination_grace_period_seconds=30,
        containers=[
            ContainerArgs(
                name=NAME,
                image=image("jaeger", args.images),
                args=[f"--config={CONFIG}/config.yaml"],
                env=[EnvVarArgs(name="GOMEMLIMIT", value=f"{args.traces.memory_mib * 8 // 10}MiB")],
                ports=ports(**TAKES, **ANSWERS, metrics=JAEGER_METRICS_PORT, health=HEALTH_PORT),
                startup_probe=http_probe("/status", "health", period=2, timeout=5, failures=60),
                readiness_probe=http_probe("/status", "health", period=5, timeout=5, failures=3),
                liveness_probe=http_probe("/status", "health", period=15, timeout=10, failures=4),
                resources=burstable(
                    "50m", f"{args.traces.memory_mib}Mi", cpu_limit="1", disk=f"{args.traces.disk_mib + 64}Mi"
                ),
                security_context=container_security(),
                volume_mounts=[
                    data_mount,
                    tmp_mount,
                    VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True),
                ],
            )
        ],
        volumes=[data, tmp, VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config))],
    )


def jaeger_yaml(traces: Traces, *, host: str = "0.0.0.0", data: str = DATA) -> str:  # noqa: S104
    """An OpenTelemetry collector's configuration: OTLP in, Badger behind it, and the query API."""
    config = {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
            "pipelines": {
                "traces": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter", "batch"],
                    "exporters": ["jaeger_storage_exporter"],
                }
            },
            "telemetry": {
                "resource": {"service.name": NAME},
                "logs": {"level": "warn", "encoding": "json"},
                "metrics": {
                    "level": "normal",
                    "readers": [{"pull": {"exporter": {"prometheus": {"host": host, "port": JAEGER_METRICS_PORT}}}}],
                },
            },
        },
        "extensions": {
            "healthcheckv2": {"use_v2": True, "http": {"endpoint": f"{host}:{HEALTH_PORT}"}},
            "jaeger_query": {
                "storage": {"traces": STORE},
                "http": {"endpoint": f"{host}:{JAEGER_QUERY_PORT}"},
                "grpc": {"endpoint": "127.0.0.1:16685"},
            },
            "jaeger_storage": {
                "backends": {
                    STORE: {
                        "badger": {
                            "ephemeral": False,
                            "directories": {"keys": f"{data}/keys", "values": f"{data}/values"},
                            "ttl": {"spans": f"{traces.retention_hours}h"},
                        }
                    }
                }
            },
        },
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{host}:{OTLP_HTTP_PORT}"}}}},
        "processors": {
            "memory_limiter": {
                "check_interval": "1s",
                "limit_percentage": MEMORY_PERCENT,
                "spike_limit_percentage": SPIKE_PERCENT,
            },
            "batch": {},
        },
        "exporters": {"jaeger_storage_exporter": {"trace_storage": STORE}},
    }
    return yaml.safe_dump(config, sort_keys=False)
