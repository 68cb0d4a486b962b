"""Dashboards as code: each is a value (model.py), and Grafana is given their JSON. Pure."""

from __future__ import annotations

from components.observability.dashboards import alerting, cluster, edge, gpu, inference, logs, redis, start
from components.observability.dashboards.model import Dashboard
from components.observability.dashboards.parts import Parts

__all__ = ["Dashboard", "Parts", "dashboards"]


def dashboards(parts: Parts) -> tuple[Dashboard, ...]:
    """Those of a stack that runs these parts, the one that is shown first at the front."""
    return (
        start.dashboard(parts),
        inference.dashboard(parts),
        *((gpu.dashboard(),) if parts.gpus else ()),
        edge.dashboard(),
        redis.dashboard(parts),
        *((cluster.dashboard(),) if parts.nodes else ()),
        *((logs.dashboard(),) if parts.logs else ()),
        alerting.dashboard(parts),
    )
