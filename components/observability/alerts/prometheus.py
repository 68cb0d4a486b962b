"""Prometheus itself, and what it has to compute for the autoscaler. Pure."""

from __future__ import annotations

from components.observability.alerts.jobs import API
from components.observability.alerts.rule import Alert, Group, Watched
from components.observability.prometheus_config import GPU_UTILIZATION, IN_FLIGHT
from components.observability.targets import ENGINES, REPLICAS

SELF = 'job="prometheus"'


def groups(watched: Watched) -> list[Group]:
    rules = (*(own() if watched.own_prometheus else ()), *scaling(watched))
    return [Group(name="prometheus", rules=rules)] if rules else []


def own() -> list[Alert]:
    # What `--storage.tsdb.retention.size` limits: blocks, write-ahead log and the head's chunks together.
    used = " + ".join(
        f"prometheus_tsdb_{part}_bytes{{{SELF}}}"
        for part in ("storage_blocks", "wal_storage_size", "head_chunks_storage_size")
    )
    return [
        Alert(
            name="PrometheusRuleFailures",
            severity="warning",
            expr=f"sum by (rule_group) (increase(prometheus_rule_evaluation_failures_total{{{SELF}}}[5m])) > 0",
            for_seconds=600,
            summary="Rules of {{ $labels.rule_group }} cannot be computed",
            description="Alerts or scaling metrics of this group are missing. Prometheus' log has the rule and the reason.",
        ),
        Alert(
            name="PrometheusStorageNearLimit",
            severity="warning",
            expr=f"({used}) / prometheus_tsdb_retention_limit_bytes{{{SELF}}} > 0.9",
            for_seconds=1800,
            summary="Prometheus' samples take {{ $value | humanizePercentage }} of their room",
            description="The oldest samples are about to go before observability.prometheus.retentionHours is over. Raise"
            " observability.prometheus.diskMib or keep samples for a shorter time.",
        ),
    ]


def scaling(watched: Watched) -> list[Alert]:
    if not watched.scaling:
        return []
    metrics = [(IN_FLIGHT, REPLICAS.job)] + ([(GPU_UTILIZATION, ENGINES.job)] if watched.gpu_scaling else [])
    apis = f"aggregator_unavailable_apiservice{{{API}}}"
    return [
        Alert(
            name="MetricsApiDown",
            severity="warning",
            expr=f"max by (name) ({apis}) == 1",
            for_seconds=600,
            summary="The API {{ $labels.name }} does not answer",
            description="For 10 minutes an API server has not been able to ask who serves {{ $labels.name }}: metrics-server or"
            " prometheus-adapter. The autoscaler does without what it tells and takes no replica away.",
        ),
        *missing(metrics),
    ]


def missing(metrics: list[tuple[str, str]]) -> list[Alert]:
    return [
        Alert(
            name="ScalingMetricMissing",
            severity="warning",
            expr=f'count by (namespace) (up{{job="{job}"}} == 1) unless on (namespace) count by (namespace) ({metric})',
            for_seconds=900,
            summary=f"The autoscaler has had no {metric} for 15 minutes",
            description=f"There are {{{{ $value }}}} replicas and no value of {metric}, so qwen3-vl-hpa takes none away."
            " The runbook says which part of the chain is silent.",
            labels={"metric": metric},
        )
        for metric, job in metrics
    ]
