"""The service level objective, and the alerts on how fast its error budget is used up (multi-window, multi-burn-rate). Pure.

Windows, rates and severities are those of the SRE workbook ("Alerting on SLOs"), for a budget of 30 days: 14.4 times the rate
uses 2 % of it in an hour, 6 times 5 % in six hours, 3 times 10 % in a day, once 10 % in three days.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.observability.alerts.rule import Alert, Group, Recorded, Severity, Watched, span
from components.observability.alerts.service import TRAEFIK, WEBUI

# Rates over days take work; computed once a minute, they are still younger than the shortest window needs.
INTERVAL_SECONDS = 60
# One unlucky request of a quiet night is all of its traffic; it is not an outage.
FEWEST = 10
MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Burn:
    """Both windows have to burn the budget at `rate`: the long one so that it matters, the short one so that it is still so."""

    rate: float
    long_seconds: int
    short_seconds: int
    for_seconds: int
    severity: Severity


BURNS = (
    Burn(rate=14.4, long_seconds=HOUR, short_seconds=5 * MINUTE, for_seconds=2 * MINUTE, severity="critical"),
    Burn(rate=6, long_seconds=6 * HOUR, short_seconds=30 * MINUTE, for_seconds=15 * MINUTE, severity="critical"),
    Burn(rate=3, long_seconds=24 * HOUR, short_seconds=2 * HOUR, for_seconds=HOUR, severity="warning"),
    Burn(rate=1, long_seconds=72 * HOUR, short_seconds=6 * HOUR, for_seconds=3 * HOUR, severity="warning"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Indicator:
    """Names and rates of events and of the bad ones among them. Their window stands in both expressions as WINDOW."""

    bad: str
    bad_rate: str
    events: str
    events_rate: str
    budget: float  # share of the events that may be bad


def groups(watched: Watched) -> list[Group]:
    """Only burns whose long window is no longer than samples are kept."""
    objective = watched.objective
    burns = [burn for burn in BURNS if burn.long_seconds <= watched.retention_hours * HOUR]
    windows = sorted({seconds for burn in burns for seconds in (burn.long_seconds, burn.short_seconds)})
    available = Indicator(
        bad="service:failed_requests",
        bad_rate=unanswered(),
        events="service:requests",
        events_rate=f"{unanswered()} + {answered()}",
        budget=round(1 - objective.availability_percent / 100, 6),
    )
    fast = Indicator(
        bad="service:slow_answers",
        bad_rate=f"{durations('count')} - {durations('bucket', objective.latency_seconds)}",
        events="service:answers",
        events_rate=durations("count"),
        budget=round(1 - objective.latency_percent / 100, 6),
    )
    recorded = [each for one in (available, fast) for window in windows for each in rates(one, window)]
    alerts = [
        alert
        for burn in burns
        for alert in (
            budget_burn(
                available,
                burn,
                name="AvailabilityBudgetBurn",
                summary="{{ $value | humanizePercentage }} of the requests fail",
                description=f"The objective is that {objective.availability_percent:g} % are answered",
            ),
            budget_burn(
                fast,
                burn,
                name="LatencyBudgetBurn",
                summary="{{ $value | humanizePercentage }} of the answers are slow",
                description=f"The objective is that {objective.latency_percent:g} % are complete within"
                f" {objective.latency_seconds:g} s",
            ),
        )
    ]
    return [Group(name="objective", interval_seconds=INTERVAL_SECONDS, rules=(*recorded, *alerts))]


def counted(metric: str) -> str:
    """A rate that is 0 where nothing was counted yet."""
    return f"(sum(rate({metric}[WINDOW])) or vector(0))"


def unanswered() -> str:
    """Whatever the gateway ended with a 5xx, and the page's answers that failed, which it sees as a 200."""
    gateway = f'traefik_entrypoint_requests_total{{{TRAEFIK},code=~"5.."}}'
    page = f'webui_chat_answers_total{{{WEBUI},outcome="failed"}}'
    return f"{counted(gateway)} + {counted(page)}"


def answered() -> str:
    """Answers only: files of the page and the like would make every failure look rare."""
    api = f'webui_http_requests_total{{{WEBUI},route=~"/v1/(chat/)?completions",code=~"2.."}}'
    page = f'webui_chat_answers_total{{{WEBUI},outcome=~"done|stopped"}}'
    return f"{counted(api)} + {counted(page)}"


def durations(part: str, bound: float | None = None) -> str:
    """Answers of the page and of /v1 together; with a bound, those that were complete within it."""
    le = "" if bound is None else f',le="{bound}"'
    api = f'webui_http_request_duration_seconds_{part}{{{WEBUI},route=~"/v1/(chat/)?completions"{le}}}'
    chat = f"webui_chat_answer_duration_seconds_{part}{{{WEBUI}{le}}}"
    return f"({counted(api)} + {counted(chat)})"


def rates(indicator: Indicator, window_seconds: int) -> list[Recorded]:
    window = span(window_seconds)
    return [
        Recorded(record=f"{name}:rate{window}", expr=rate.replace("WINDOW", window))
        for name, rate in ((indicator.bad, indicator.bad_rate), (indicator.events, indicator.events_rate))
    ]


def budget_burn(indicator: Indicator, burn: Burn, *, name: str, summary: str, description: str) -> Alert:
    def bad_share(window: str) -> str:
        return f"{indicator.bad}:rate{window} / {indicator.events}:rate{window}"

    limit = f"{burn.rate * indicator.budget:g}"
    long, short = span(burn.long_seconds), span(burn.short_seconds)
    return Alert(
        name=name,
        severity=burn.severity,
        expr=f"{bad_share(long)} > {limit} and {bad_share(short)} > {limit}"
        f" and {indicator.bad}:rate{long} * {burn.long_seconds} >= {FEWEST}",
        for_seconds=burn.for_seconds,
        summary=summary,
        description=f"{description}; over the last {long} and {short} this used up the error budget of 30 days at"
        f" {burn.rate:g} times the rate that lasts, or faster. The runbook says where to look.",
        labels={"long": long, "short": short},
    )
