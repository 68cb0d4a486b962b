"""What the service promises, against what its replicas are planned for."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Settings
from components.settings.problem import Problem


def objective(settings: Settings) -> Iterator[Problem]:
    """With answers as long as planned on average, about half of them would be too slow: an alert that never ends."""
    load, promised = settings.inference.expected_load, settings.observability.objective.latency_seconds
    if load is None or load.answer_seconds < promised:
        return
    found = (
        f"{promised:g} s, with answers of {load.answer_seconds:g} s on average (inference.expectedLoad.answerSeconds)"
    )
    rule = "what nearly all answers keep is longer than what the average one takes"
    yield Problem("observability.objective.latencySeconds", found, rule, "Raise it or lower the other")
