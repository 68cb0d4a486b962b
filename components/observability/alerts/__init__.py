"""Every alert of the product, and the rules file that Prometheus reads. Pure."""

from __future__ import annotations

from typing import Any

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

__all__ = ["Alert", "Group", "Watched", "alerts", "alerts_yaml", "groups", "rule_groups"]


CLUSTER = (nodes, control_plane, workloads, models)  # what the service runs on
SERVICE = (targets, service, sessions, certificate, engine, gpu, images, objective)
PARTS = (*SERVICE, prometheus, alerting, logs, traces, *CLUSTER)


def groups(watched: Watched) -> list[Group]:
    return [group for part in PARTS for group in part.groups(watched)]


def alerts(watched: Watched) -> list[Alert]:
    return [rule for group in groups(watched) for rule in group.rules if isinstance(rule, Alert)]


def rule_groups(watched: Watched, runbook_url: str | None) -> list[dict[str, Any]]:
    """As a rules file has them; runbooks are below `runbook_url`, or below the folder of this repository that holds them."""
    return [group.group(runbook_url or RUNBOOKS) for group in groups(watched)]


def alerts_yaml(watched: Watched, runbook_url: str | None) -> str:
    """The rules file."""
    return yaml.safe_dump({"groups": rule_groups(watched, runbook_url)}, sort_keys=False, width=200)
