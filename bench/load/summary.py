"""From what happened to each request to the figures, and whether they may be used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
BUSY = 0.9
"""Share of one core above which a generator of one thread is itself the limit."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request. Seconds after the start of the run; `error` is empty for a complete and right answer."""

    due: float
    sent: float
    first_byte: float
    done: float
    error: str = ""

    @property
    def lateness(self) -> float:
        return self.sent - self.due

    @property
    def latency(self) -> float:
        """From the moment it was due, not from the moment it was sent: what waited in the generator counts too."""
        return self.done - self.due

    @property
    def to_first_byte(self) -> float:
        return self.first_byte - self.due


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Latencies in milliseconds, of complete and right answers only; whoever reads them must read `errors` too."""

    wanted_rate: float
    sent: int
    answered: int
    sent_rate: float  # per second over the time in which they were due
    answered_rate: float  # per second until the last answer
    errors: dict[str, int]
    latency: dict[str, float]
    first_byte: dict[str, float]
    lateness: dict[str, float]
    most_in_flight: int
    cpu_share: float  # of one core, the generator's own
    invalid: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Every request was answered, and the generator kept to its schedule."""
        return not self.errors and not self.invalid

    def shown(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        def row(name: str, values: dict[str, float]) -> str:
            return f"{name:12s}" + "  ".join(f"{quantile} {value:8.2f}" for quantile, value in values.items()) + "  ms"

        errors = ", ".join(f"{count} {kind}" for kind, count in self.errors.items()) or "none"
        return [
            f"sent        {self.sent} requests, {self.sent_rate:.1f}/s of {self.wanted_rate:g}/s wanted; "
            f"at most {self.most_in_flight} in flight; {self.cpu_share:.0%} of a core",
            f"answered    {self.answered}, {self.answered_rate:.1f}/s; errors: {errors}",
            *(row(name, values) for name, values in (("latency", self.latency), ("first byte", self.first_byte))),
            row("late by", self.lateness),
            *(f"INVALID     {why}" for why in self.invalid),
        ]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Nearest rank: the smallest value that at least that share of all values does not exceed. Milliseconds; {} of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    ranks = {name: max(1, math.ceil(share * len(ordered) - 1e-9)) for name, share in QUANTILES.items()}
    return {name: round(1000 * ordered[rank - 1], 3) for name, rank in ranks.items()}


def summarize(
    outcomes: Sequence[Outcome],
    *,
    wanted_rate: float,
    seconds: float,
    most_in_flight: int,
    cpu_seconds: float,
    late_limit_ms: float,
) -> Summary:
    """`seconds` is the time in which requests were due, `late_limit_ms` what 99 of 100 requests may be late by."""
    right = [outcome for outcome in outcomes if not outcome.error]
    sent = [outcome for outcome in outcomes if outcome.error != NOT_SENT]
    wall = max((outcome.done for outcome in outcomes), default=0.0)
    lateness = quantiles([outcome.lateness for outcome in sent])
    cpu_share = cpu_seconds / max(wall, seconds)
    invalid = []
    if lateness.get("p99", 0.0) > late_limit_ms:
        invalid.append(
            f"1 of 100 requests left {lateness['p99']:.1f} ms late or later; {late_limit_ms:g} ms are allowed"
        )
    if cpu_share > BUSY:
        invalid.append(f"the generator used {cpu_share:.0%} of one core, so it may be the limit")
    if not right:
        invalid.append("no request was answered")
    return Summary(
        wanted_rate=wanted_rate,
        sent=len(sent),
        answered=len(right),
        sent_rate=round(len(sent) / seconds, 2),
        answered_rate=round(len(right) / max(wall, seconds), 2),
        errors=dict(sorted(Counter(outcome.error for outcome in outcomes if outcome.error).items())),
        latency=quantiles([outcome.latency for outcome in right]),
        first_byte=quantiles([outcome.to_first_byte for outcome in right]),
        lateness=lateness,
        most_in_flight=most_in_flight,
        cpu_share=round(cpu_share, 3),
        invalid=invalid,
    )


NOT_SENT = "not sent: too many in flight"
