"""Every alert of the product, and the rules file that Prometheus reads. Pure."""

from __future__ import annotations

import yaml

from components.observability.alerts import (
    alerting,
    certificate,
    control_plane,
    engine,
    gpu,
    images,
    logs,
    models,
    nodes,
    objective,
    prometheus,
    service,
    sessions,
    targets,
    traces,
    workloads,
)
from components.observability.alerts.rule import RUNBOOKS, Alert, Group, Watched

__all__ = ["Alert", "Group", "Watched", "alerts", "alerts_yaml", "groups"]


CLUSTER = (nodes, control_plane, workloads, models)  # what the service runs on
SERVICE = (targets, service, sessions, certificate, engine, gpu, images, objective)
PARTS = (*SERVICE, prometheus, alerting, logs, traces, *CLUSTER)


def groups(watched: Watched) -> list[Group]:
    return [group for part in PARTS for group in part.groups(watched)]


def alerts(watched: Watched) -> list[Alert]:
    return [rule for group in groups(watched) for rule in group.rules if isinstance(rule, Alert)]


def alerts_yaml(watched: Watched, runbook_url: str | None) -> str:
    """The rules file; runbooks are found below `runbook_url`, or below the folder of this repository that holds them."""
    runbooks = runbook_url or RUNBOOKS
    document = {"groups": [group.group(runbooks) for group in groups(watched)]}
    return yaml.safe_dump(document, sort_keys=False, width=200)
