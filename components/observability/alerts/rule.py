"""An alert, a recorded value and a group of both, as Prometheus' rules file has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from components.settings.observability import ImageScan, Objective

# critical: wakes somebody, because users notice. warning: somebody looks at it in the day. none: proves that alerts work at all.
Severity = Literal["critical", "warning", "none"]
RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What the rules have to know of the stack."""

    objective: Objective
    retention_hours: int
    start_seconds: int  # longest time from a new replica's creation to its readiness that is still normal
    replicas: int  # fewest that are to be ready
    gpu_exporter: bool  # ours reports the GPUs
    scaling: bool  # the autoscaler asks for metrics
    gpu_scaling: bool  # `gpu_utilization` is one of them
    redis_members: int  # of the group that keeps the chats; 1: there is no group
    vllm: bool  # the engine has vLLM's metrics
    # Before its end the gateway's certificate should have been renewed; None: there is none.
    certificate_days: int | None
    image_scan: ImageScan | None  # None: nothing is scanned
    acme: bool = False  # it is ordered in the cluster
    traces: bool = False  # a Jaeger of ours keeps them
    logs: bool = False  # they are collected
    logs_seconds: int = 7 * 86400  # so long they are kept
    logs_disk_mib: int | None = None  # None: in a bucket
    backup_hours: int | None = None  # between two backups of etcd; None: none are made
    alerting: bool = False  # Alertmanager runs
    own_prometheus: bool = True  # False: somebody else's reads the stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One alerting rule. Summary and description are Prometheus templates: they may name labels that `expr` keeps."""

    name: str
    severity: Severity
    expr: str
    for_seconds: int = 0  # `expr` has to hold so long
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """Name of its runbook's file."""
        return f"{self.name}.md"

    def rule(self, runbooks: str) -> dict[str, Any]:
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": span(self.for_seconds)} if self.for_seconds else {}),
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks}/{self.page}",
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A value that is computed once, for several alerts or because it is long."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def rule(self, runbooks: str) -> dict[str, Any]:  # noqa: ARG002  like an alert's
        return {
            "record": self.record,
            "expr": self.expr,
            **({"labels": dict(self.labels)} if self.labels else {}),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Rules that are computed one after the other, every `interval_seconds` or as often as targets are read."""

    name: str
    rules: tuple[Alert | Recorded, ...]
    interval_seconds: int | None = None

    def group(self, runbooks: str) -> dict[str, Any]:
        return {
            "name": self.name,
            **({"interval": span(self.interval_seconds)} if self.interval_seconds else {}),
            "rules": [each.rule(runbooks) for each in self.rules],
        }


def span(seconds: int) -> str:
    """As Prometheus and people write it: 5m, 1h, 3d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def share(part: str, whole: str, *, over: float, least: str) -> str:
    """More than `over` of `whole` are `part`, and enough of them (`least`, an expression) to say so."""
    return f"{part} / {whole} > {over:g} and {least}"
