"""Logs that nobody collects, delivers or can keep. Pure."""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Watched, span
from components.observability.targets import COLLECTORS, LOGS

MIB = 1 << 20
OF_LOKI, OF_COLLECTORS = f'{{job="{LOGS.job}"}}', f'{{job="{COLLECTORS.job}"}}'


def groups(watched: Watched) -> list[Group]:
    if not watched.logs:
        return []
    full = [full_store(watched.logs_seconds, watched.logs_disk_mib)] if watched.logs_disk_mib else []
    return [Group(name="logs", rules=(store_down(), not_delivered(), *full, collector_down()))]


def store_down() -> Alert:
    return Alert(
        name="LogStoreDown",
        severity="warning",
        expr=f"(sum(up{OF_LOKI}) or vector(0)) == 0",
        for_seconds=600,
        summary="Loki does not answer",
        description="Logs wait on the nodes, up to observability.logs.queueMib and in their own files beyond that, and nobody"
        " can search them. Look at the pods with the label app=loki in the namespace observability.",
    )


def not_delivered() -> Alert:
    """A queue that fills, or lines that were given up: Loki refused them for good."""
    queue = f"otelcol_exporter_queue_size{OF_COLLECTORS} / otelcol_exporter_queue_capacity{OF_COLLECTORS} > 0.5"
    lost = f"increase(otelcol_exporter_send_failed_log_records_total{OF_COLLECTORS}[10m]) > 0"
    return Alert(
        name="LogsNotDelivered",
        severity="warning",
        expr=f"max by (node) ({queue}) or max by (node) ({lost})",
        for_seconds=600,
        summary="Logs of {{ $labels.node }} do not reach Loki",
        description="The collector on {{ $labels.node }} has half of its queue waiting, or lines that Loki refused. Look at its"
        " log in the namespace node-agents: it says what Loki answered.",
    )


def full_store(seconds: int, disk_mib: int) -> Alert:
    return Alert(
        name="LogStoreFull",
        severity="warning",
        expr=f"sum(rate(loki_ingester_chunk_stored_bytes_total{OF_LOKI}[1h])) * {seconds} / {disk_mib * MIB} > 0.8",
        for_seconds=3600,
        summary="Logs are going to take {{ $value | humanizePercentage }} of their room",
        description=f"At the pace of the last hour, what is written in {span(seconds)} does not fit into"
        " observability.logs.diskMib; a full Loki is evicted and begins empty. Find who writes so much, give more room or"
        " keep logs for a shorter time.",
    )


def collector_down() -> Alert:
    return Alert(
        name="LogCollectorDown",
        severity="warning",
        expr=f"up{OF_COLLECTORS} == 0",
        for_seconds=600,
        summary="The log collector on {{ $labels.node }} does not answer",
        description="Logs of {{ $labels.node }} are not read. What is still in its files is read later; containerd and journald"
        " throw the oldest away. Look at the pod of log-collector there.",
    )
