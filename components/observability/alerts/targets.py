"""Targets that cannot be read, and the alert that always fires. Pure."""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Watched, span
from components.observability.targets import ENGINES, GATEWAY, GPUS, REPLICAS, Target

POD = "{{ $labels.pod }} on {{ $labels.node }}"


def groups(watched: Watched) -> list[Group]:
    return [Group(name="watchdog", rules=(watchdog(),)), Group(name="targets", rules=tuple(unreadable(watched)))]


def watchdog() -> Alert:
    return Alert(
        name="Watchdog",
        severity="none",
        expr="vector(1)",
        summary="Alerting works",
        description="This alert always fires. Whoever receives alerts watches that it keeps coming: its silence means that"
        " Prometheus, or the way from it, is broken.",
    )


def unreadable(watched: Watched) -> list[Alert]:
    """An engine and the web UI behind it are silent while a model is loaded; the others answer at once."""
    alerts = [
        Alert(
            name="ReplicaDown",
            severity="warning",
            expr=gone(REPLICAS, watched.start_seconds),
            for_seconds=300,
            summary=f"The web UI of replica {POD} does not answer",
            description=f"Prometheus has not been able to read {POD} for 5 minutes, and it is not one that is starting."
            " Look at the pod's events and the log of its container webui.",
        ),
        Alert(
            name="GatewayDown",
            severity="warning",
            expr=f'up{{job="{GATEWAY.job}"}} == 0',
            for_seconds=300,
            summary=f"Gateway {POD} does not answer",
            description=f"Prometheus has not been able to read {POD} for 5 minutes. The other gateways carry its load:"
            " look at the node first, then at the pod.",
        ),
    ]
    if watched.vllm:
        alerts.append(
            Alert(
                name="EngineDown",
                severity="warning",
                expr=gone(ENGINES, watched.start_seconds),
                for_seconds=300,
                summary=f"The engine of replica {POD} does not answer",
                description=f"Prometheus has not been able to read the engine of {POD} for 5 minutes, and it is not one that is"
                " starting. Look at the log of its container engine, the one before a restart too, then at its GPU.",
            )
        )
    if watched.gpu_exporter:
        alerts.append(
            Alert(
                name="GpuExporterDown",
                severity="warning",
                expr=f'up{{job="{GPUS.job}"}} == 0',
                for_seconds=300,
                summary="The GPU exporter on {{ $labels.node }} does not answer",
                description="Nothing has been known of the GPUs of {{ $labels.node }} for 5 minutes, and the autoscaler has no"
                " GPU utilisation. Look at the pod of dcgm-exporter there, then at the driver.",
            )
        )
    return alerts


def gone(target: Target, start_seconds: int) -> str:
    """Silent now, and either heard within the time that a start may take, or known for longer than that."""
    up = f'up{{job="{target.job}"}}'
    start = span(start_seconds)
    return f"{up} == 0 and (max_over_time({up}[{start}]) == 1 or {up} offset {start})"
