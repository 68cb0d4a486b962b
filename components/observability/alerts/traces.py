"""Traces that nobody keeps. Pure."""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Watched
from components.observability.targets import TRACES


def groups(watched: Watched) -> list[Group]:
    return [Group(name="traces", rules=(store_down(),))] if watched.traces else []


def store_down() -> Alert:
    return Alert(
        name="TraceStoreDown",
        severity="warning",
        expr=f'(sum(up{{job="{TRACES.job}"}}) or vector(0)) == 0',
        for_seconds=600,
        summary="Jaeger does not answer",
        description="Requests are answered as before, but nobody keeps where they spent their time; what was kept may be gone."
        " Look at the pod with the label app=jaeger in the namespace observability.",
    )
