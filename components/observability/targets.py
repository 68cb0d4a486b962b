"""What Prometheus reads: pods by their label and the name of a port. Names only, because other layers own the pods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Pods labelled `app` in one namespace, read at /metrics of their port called `port`."""

    job: str
    namespace: str
    app: str
    port: str
    label: str = "app"
    keep: str = ""  # only metrics whose names match this regular expression; empty: all
    # The exporter speaks about other pods: its own `namespace` and `pod` labels name those, and must win.
    honor_labels: bool = False


REPLICAS = Target(job="qwen3-vl-webui", namespace="default", app="qwen3-vl-webui", port="http")
ENGINES = Target(job="qwen3-vl-engine", namespace="default", app="qwen3-vl-webui", port="engine")
GATEWAY = Target(job="traefik", namespace="traefik", app="traefik", port="metrics")
GPUS = Target(job="dcgm-exporter", namespace="kube-system", app="dcgm-exporter", port="metrics", honor_labels=True)
# There only where Redis is a group. 700 values each, of which the alerts need these.
SESSIONS = Target(
    job="redis-proxy",
    namespace="default",
    app="redis-proxy",
    port="metrics",
    keep="haproxy_server_(check_)?status",
)
# There only where images are scanned.
IMAGES = Target(job="image-scan", namespace="observability", app="image-scan", port="metrics")
# There only where requests are followed by a Jaeger of ours.
TRACES = Target(
    job="jaeger",
    namespace="observability",
    app="jaeger",
    port="metrics",
    keep="otelcol_(receiver|exporter)_.*spans.*|otelcol_process_.*|process_.*|jaeger_storage_.*",
)
# There only where an ACME server is asked for the gateways' certificate.
ISSUER = Target(job="acme-issuer", namespace="default", app="acme-issuer", port="metrics")
# There only where logs are collected. Loki has thousands of values, of which these are asked for.
LOGS = Target(
    job="loki",
    namespace="observability",
    app="loki",
    port="http",
    keep="loki_(ingester_chunk_stored_bytes|discarded_samples|discarded_bytes|distributor_bytes_received"
    "|ingester_wal_disk_full_failures)_total|loki_build_info|process_resident_memory_bytes",
)
COLLECTORS = Target(job="log-collector", namespace="node-agents", app="log-collector", port="metrics")
# It speaks about other objects, whose `namespace`, `pod` and `node` must win.
STATE = Target(
    job="kube-state-metrics",
    namespace="observability",
    app="kube-state-metrics",
    port="http",
    honor_labels=True,
)
DNS = Target(
    job="coredns",
    namespace="kube-system",
    app="kube-dns",
    label="k8s-app",
    port="metrics",
    keep="coredns_(dns_(requests|responses)_total|panics_total|forward_healthcheck_broken_total|cache_(hits|misses)_total)"
    "|process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds)",
)
MODELS = Target(job="model-cache", namespace="default", app="model-cache", port="http", keep="model_cache_.*")
# There only where somebody is told of alerts, the relay only where by a robot.
ALERTMANAGER = Target(job="alertmanager", namespace="observability", app="alertmanager", port="http")
ALERT_RELAY = Target(job="alert-relay", namespace="observability", app="alertmanager", port="relay")
TARGETS = (
    REPLICAS,
    ENGINES,
    GATEWAY,
    GPUS,
    SESSIONS,
    IMAGES,
    ISSUER,
    STATE,
    DNS,
    MODELS,
    ALERTMANAGER,
    ALERT_RELAY,
    TRACES,
    LOGS,
    COLLECTORS,
)
