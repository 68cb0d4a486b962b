"""Copies of the model on the workers, by the agents that fill them. Pure."""

from __future__ import annotations

from components.observability.alerts.jobs import silent
from components.observability.alerts.rule import Alert, Group, Watched
from components.observability.targets import MODELS

AGENT = f'job="{MODELS.job}"'
NODE = "{{ $labels.node }}"
LEAST_SECONDS = 1800


def groups(watched: Watched) -> list[Group]:
    seconds = max(LEAST_SECONDS, watched.start_seconds)
    return [Group(name="models", rules=tuple(copies(seconds)))]


def copies(seconds: int) -> list[Alert]:
    whole = f"max by (node) (model_cache_complete{{{AGENT}}}) == 1"
    return [
        Alert(
            name="ModelCacheDown",
            severity="warning",
            expr=silent(AGENT),
            for_seconds=600,
            summary=f"The agent that keeps the model on {NODE} does not answer",
            description=f"Replicas on {NODE} that run go on, and nobody looks after the copy they read: it is not filled, mended"
            " or given to other workers. Look at the pod of model-cache there.",
        ),
        Alert(
            name="ModelCopyMissing",
            severity="warning",
            expr=f"max by (node, revision) (model_cache_complete{{{AGENT}}}) == 0",
            for_seconds=seconds,
            summary=f"Node {NODE} has no whole copy of the model",
            description=f"For {seconds // 60} minutes the copy of revision {{{{ $labels.revision }}}} on {NODE} has not become"
            " whole, so no replica starts there. The agent's /ready says what it waits for.",
        ),
        Alert(
            name="ModelCopyFailing",
            severity="warning",
            # The source is tried again and again, another worker is passed over: only the source's failures go on.
            expr=f'max by (node) (increase(model_cache_failures_total{{{AGENT},origin="source"}}[15m])) >= 3'
            f" unless on (node) {whole}",
            for_seconds=600,
            summary=f"Node {NODE} cannot read the model's source",
            description=f"The agent on {NODE} has failed {{{{ $value | humanize }}}} times in 15 minutes to read from the model's"
            " source: it is away, refuses, or has other files than its list says. Workers with a whole copy go on.",
        ),
    ]
