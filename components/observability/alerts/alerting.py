"""Alerting itself: Alertmanager, what it sends, and the way there. Pure.

While nothing at all is sent, none of these arrives either: that is what the heartbeat is for.
"""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Watched
from components.observability.targets import ALERT_RELAY, ALERTMANAGER

UP = f'up{{job="{ALERTMANAGER.job}"}}'
FAILED = f'alertmanager_notifications_failed_total{{job="{ALERTMANAGER.job}"}}'
RELAYED = f'alert_relay_failures_total{{job="{ALERT_RELAY.job}"}}'
PROMETHEUS = 'job="prometheus"'


def groups(watched: Watched) -> list[Group]:
    return [Group(name="alerting", rules=(*members(), *sending()))] if watched.alerting else []


def members() -> list[Alert]:
    return [
        Alert(
            name="AlertmanagerDown",
            severity="warning",
            expr=f"{UP} == 0 or absent({UP})",
            for_seconds=300,
            summary="Alertmanager {{ $labels.pod }} does not answer",
            description="Prometheus has not been able to read it for 5 minutes; without a pod's name there is none at all. The"
            " other one sends alone. Look at the pods of the StatefulSet alertmanager in the namespace observability.",
        ),
        Alert(
            name="AlertmanagerSplit",
            severity="warning",
            expr=f'min(alertmanager_cluster_members{{job="{ALERTMANAGER.job}"}}) < count({UP} == 1)',
            for_seconds=600,
            summary="The Alertmanagers do not know of each other",
            description="One knows of {{ $value }} only, itself among them. Each alert arrives twice, and a silence works on one."
            " Look at TCP and UDP port 9094 between their pods.",
        ),
        Alert(
            name="AlertmanagerConfigNotLoaded",
            severity="warning",
            expr=f'alertmanager_config_last_reload_successful{{job="{ALERTMANAGER.job}"}} == 0',
            for_seconds=300,
            summary="Alertmanager {{ $labels.pod }} cannot use its configuration",
            description="It goes on with the one before. Its log says what it does not understand.",
        ),
    ]


def sending() -> list[Alert]:
    return [
        Alert(
            name="AlertsNotSent",
            severity="critical",
            expr=f"sum by (receiver_name, integration) (increase({FAILED}[15m])) > 0",
            summary="Alerts do not reach {{ $labels.receiver_name }}",
            description="Alertmanager has given up sending to {{ $labels.receiver_name }} by {{ $labels.integration }}"
            " and tries again with the next notification. Its log says what it was answered.",
        ),
        Alert(
            name="AlertRelayFailing",
            severity="warning",
            expr=f"sum by (receiver) (increase({RELAYED}[15m])) > 3",
            summary="The robot of {{ $labels.receiver }} takes no messages",
            description="The relay has tried {{ $value | humanize }} times in 15 minutes. The log of the container relay says"
            " what the robot answers: a wrong signature, a missing keyword, too many messages, or a robot that is gone.",
        ),
        Alert(
            name="PrometheusNotSendingAlerts",
            severity="critical",
            expr=f"prometheus_notifications_alertmanagers_discovered{{{PROMETHEUS}}} < 1"
            f" or sum without (alertmanager) (increase(prometheus_notifications_dropped_total{{{PROMETHEUS}}}[10m])) > 0",
            for_seconds=300,
            summary="Prometheus cannot send alerts",
            description="It finds no Alertmanager, or they take nothing. Alerts are computed, but nobody is told of them.",
        ),
    ]
