"""Alerts, and whether they would reach anybody: Prometheus itself and what it tells. Pure."""

from __future__ import annotations

from components.observability.dashboards.model import GREEN, RED, YELLOW, Dashboard, Panel, Query, Row
from components.observability.dashboards.parts import Parts
from components.observability.dashboards.queries import WINDOW, or_zero
from components.observability.dashboards.start import FIRING
from components.observability.targets import IMAGES

SELF, MANAGER = 'job="prometheus"', 'job="alertmanager"'


def dashboard(parts: Parts) -> Dashboard:
    optional = (
        (parts.prometheus, Row(title="Prometheus", panels=prometheus())),
        (parts.alertmanager, Row(title="Alertmanager", panels=manager())),
        (parts.image_scan, Row(title="Known vulnerabilities", panels=images())),
    )
    return Dashboard(
        uid="qwen3-vl-alerting",
        title="Alerting",
        description="What fires, what fired, and whether alerts would reach anybody.",
        rows=(
            Row(title="Alerts", panels=alerts()),
            *(row for there, row in optional if there),
        ),
        hours=24,
    )


def alerts() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Firing",
            description="The page of each in docs/runbooks says what to look at first.",
            unit="short",
            kind="table",
            width=12,
            empty="None fires.",
            queries=(Query(expr=f"max by (alertname, severity, namespace, pod, node, job) ({FIRING})"),),
        ),
        Panel(
            title="Pending",
            description="Their condition holds, but not yet for long enough.",
            unit="short",
            kind="table",
            width=12,
            empty="None.",
            queries=(
                Query(expr='max by (alertname, severity, namespace, pod, node, job) (ALERTS{alertstate="pending"})'),
            ),
        ),
        Panel(
            title="What fired when",
            description="Number of firing alerts by name.",
            unit="short",
            decimals=0,
            width=16,
            least=0,
            stacked=True,
            queries=(Query(expr=f"count by (alertname) ({FIRING})", legend="{{alertname}}"),),
        ),
        Panel(
            title="Watchdog",
            description="It always fires. If it does not, no alert would.",
            unit="short",
            kind="stat",
            start=RED,
            thresholds=((1, GREEN),),
            words=((1, "fires, as it should", GREEN), (0, "silent", RED)),
            queries=(Query(expr=or_zero('count(ALERTS{alertname="Watchdog",alertstate="firing"})')),),
        ),
    )


def prometheus() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Targets by job",
            description="Share of each job's targets that can be read.",
            unit="percentunit",
            kind="bargauge",
            height=9,
            least=0,
            most=1,
            start=RED,
            thresholds=((0.5, YELLOW), (1, GREEN)),
            queries=(Query(expr="avg by (job) (up)", legend="{{job}}"),),
        ),
        Panel(
            title="Series",
            description="In memory. A jump is somebody's label with too many values.",
            unit="short",
            height=9,
            least=0,
            queries=(Query(expr=f"prometheus_tsdb_head_series{{{SELF}}}", legend="series"),),
        ),
        Panel(
            title="Rules that failed",
            description="A second, by group. A rule that fails is an alert that is missing.",
            unit="ops",
            height=9,
            least=0,
            thresholds=((0.001, RED),),
            queries=(
                Query(
                    expr=f"sum by (rule_group) (rate(prometheus_rule_evaluation_failures_total{{{SELF}}}[{WINDOW}]))",
                    legend="{{rule_group}}",
                ),
            ),
        ),
        Panel(
            title="Memory",
            description="Resident memory of Prometheus.",
            unit="bytes",
            least=0,
            queries=(Query(expr=f"process_resident_memory_bytes{{{SELF}}}", legend="resident"),),
        ),
        Panel(
            title="Samples on disk",
            description="And the size from which the oldest are thrown away.",
            unit="bytes",
            least=0,
            queries=(
                Query(expr=f"prometheus_tsdb_storage_blocks_bytes{{{SELF}}}", legend="blocks"),
                Query(expr=f"prometheus_tsdb_retention_limit_bytes{{{SELF}}}", legend="limit"),
            ),
        ),
        Panel(
            title="Slowest groups of rules",
            description="How long the last evaluation took.",
            unit="s",
            least=0,
            queries=(
                Query(expr=f"topk(5, prometheus_rule_group_last_duration_seconds{{{SELF}}})", legend="{{rule_group}}"),
            ),
        ),
    )


def manager() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Alertmanagers that see each other",
            description="Members of the group as each sees it. Less than there are: people are told twice.",
            unit="short",
            kind="stat",
            queries=(Query(expr=f"min(alertmanager_cluster_members{{{MANAGER}}})"),),
        ),
        Panel(
            title="Messages sent",
            description="A second, by way.",
            unit="ops",
            least=0,
            queries=(
                Query(
                    expr=f"sum by (integration) (rate(alertmanager_notifications_total{{{MANAGER}}}[{WINDOW}]))",
                    legend="{{integration}}",
                ),
            ),
        ),
        Panel(
            title="Messages that failed",
            description="A second, by way. Somebody is not told.",
            unit="ops",
            least=0,
            thresholds=((0.001, RED),),
            queries=(
                Query(
                    expr=f"sum by (integration) (rate(alertmanager_notifications_failed_total{{{MANAGER}}}[{WINDOW}]))",
                    legend="{{integration}}",
                ),
            ),
        ),
    )


def images() -> tuple[Panel, ...]:
    found = f'image_vulnerabilities{{job="{IMAGES.job}"}}'
    return (
        Panel(
            title="Vulnerabilities by image",
            description="With a fixed version (fixable: true) and without; the ConfigMap image-scan-results lists the worst.",
            unit="short",
            kind="table",
            width=16,
            empty="Nothing was found, or no scan has ended yet.",
            queries=(Query(expr=f"max by (image, severity, fixable) ({found}) > 0"),),
        ),
        Panel(
            title="Age of the oldest result",
            description="Of all images.",
            unit="s",
            kind="stat",
            empty="No scan has ended yet.",
            queries=(Query(expr=f'time() - min(image_scan_waiting_since_timestamp_seconds{{job="{IMAGES.job}"}})'),),
        ),
    )
