"""What of a stack there is to be seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from components.settings.observability import Objective


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """A dashboard, row or panel of something that the stack does not run is left out: an empty picture looks like a fault."""

    objective: Objective
    retention_hours: int
    replicas: int  # fewest that are to be ready
    vllm: bool = True  # the engine has vLLM's metrics
    gpus: bool = True  # our exporter reports them
    redis_group: bool = True
    image_scan: bool = True
    nodes: bool = True  # node-exporter, kube-state-metrics and Kubernetes' own components are read
    alertmanager: bool = True
    logs: bool = True  # Loki is there
    prometheus: bool = True  # it is ours
