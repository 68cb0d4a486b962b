"""The first look: is the service fine, and for whom is it not? Pure."""

from __future__ import annotations

from components.observability.alerts.objective import answered, unanswered
from components.observability.alerts.rule import span
from components.observability.alerts.service import MACHINES, READY, WEBUI
from components.observability.dashboards.model import GREEN, RED, YELLOW, Dashboard, Panel, Query, Row
from components.observability.dashboards.parts import Parts
from components.observability.dashboards.queries import WINDOW, or_zero, quantiles
from components.observability.targets import ENGINES, GATEWAY

FIRING = 'ALERTS{alertstate="firing",severity!="none"}'
BUDGET_HOURS = 30 * 24


def dashboard(parts: Parts) -> Dashboard:
    return Dashboard(
        uid="qwen3-vl-start",
        title="Start",
        description="Is the service fine, and for whom is it not? Begin here; the links above lead on.",
        rows=(
            Row(title="Is it fine?", panels=promises(parts)),
            Row(title="For whom is it not?", panels=troubles()),
            Row(title="What is asked of it", panels=(*traffic(), *first_tokens(parts))),
        ),
    )


def promises(parts: Parts) -> tuple[Panel, ...]:
    objective, hours = parts.objective, min(BUDGET_HOURS, parts.retention_hours)
    rest = ((0.0, YELLOW), (0.25, GREEN))
    return (
        Panel(
            title="Requests answered",
            description=f"Share of the last hour's requests that were answered. Promised: {objective.availability_percent:g} %.",
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            decimals=3,
            start=RED,
            thresholds=((objective.availability_percent / 100, GREEN),),
            empty="no requests",
            queries=(Query(expr="1 - service:failed_requests:rate1h / (service:requests:rate1h > 0)"),),
        ),
        Panel(
            title="Error budget left",
            description=f"What is left of the failures that {objective.availability_percent:g} % leave room for, over the last"
            f" {span(hours * 3600)}. Below 0 the promise is broken.",
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            decimals=1,
            start=RED,
            thresholds=rest,
            empty="no requests",
            queries=(Query(expr=budget_left("failed_requests", "requests", objective.availability_percent, hours)),),
        ),
        Panel(
            title="Budget of slow answers left",
            description=f"What is left of the answers that may take longer than {objective.latency_seconds:g} s, over the last"
            f" {span(hours * 3600)}. Promised: {objective.latency_percent:g} % within it.",
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            decimals=1,
            start=RED,
            thresholds=rest,
            empty="no answers",
            queries=(Query(expr=budget_left("slow_answers", "answers", objective.latency_percent, hours)),),
        ),
        Panel(
            title="Replicas ready",
            description=f"Replicas that take requests now. {parts.replicas} are wanted at least.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            start=RED,
            thresholds=((1, YELLOW), (max(parts.replicas, 2), GREEN)) if parts.replicas > 1 else ((1, GREEN),),
            queries=(Query(expr=or_zero(f"count({READY})")),),
        ),
        Panel(
            title="Gateways up",
            description="Replicas of Traefik that Prometheus can read.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            start=RED,
            thresholds=((1, GREEN),),
            queries=(Query(expr=f'sum(up{{job="{GATEWAY.job}"}})'),),
        ),
        Panel(
            title="Alerts firing",
            description="Alerts that fire now, without the one that always does. The table below names them.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            thresholds=((1, RED),),
            queries=(Query(expr=or_zero(f"count({FIRING})")),),
        ),
    )


def budget_left(bad: str, events: str, percent: float, hours: int) -> str:
    """The means of the rates of both: their quotient is the share of all events of that time."""
    window = f"{hours}h"
    share = f"avg_over_time(service:{bad}:rate5m[{window}]) / (avg_over_time(service:{events}:rate5m[{window}]) > 0)"
    return f"1 - ({share}) / {round(1 - percent / 100, 6):g}"


def troubles() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Alerts that fire",
            description="Each has a page in docs/runbooks with what to look at first.",
            unit="short",
            kind="table",
            width=12,
            empty="None fires.",
            queries=(Query(expr=f"max by (alertname, severity, namespace, pod, node) ({FIRING})"),),
        ),
        Panel(
            title="Readings that fail",
            description="What Prometheus cannot read: the process, its node, or the way between them.",
            unit="short",
            kind="table",
            width=12,
            empty="All are read.",
            queries=(Query(expr="max by (job, namespace, pod, node) (up == 0)"),),
        ),
        Panel(
            title="Replicas that are not ready",
            description="1 while a replica gets no traffic, by node. A replica that loads its model is one of them.",
            unit="short",
            width=12,
            height=6,
            decimals=0,
            least=0,
            thresholds=((1, RED),),
            queries=(Query(expr=f"webui_ready{{{WEBUI}}} == bool 0", legend="{{pod}} on {{node}}"),),
        ),
        Panel(
            title="Requests that fail, by replica",
            description="5xx of each web UI; 502 and 504 are the silence of its engine.",
            unit="reqps",
            width=12,
            height=6,
            least=0,
            thresholds=((1, RED),),
            queries=(
                Query(
                    expr=f'sum by (pod) (rate(webui_http_requests_total{{{WEBUI},{MACHINES},code=~"5.."}}[{WINDOW}]))'
                    f" or sum by (pod) (webui_ready{{{WEBUI}}}) * 0",
                    legend="{{pod}}",
                ),
            ),
        ),
    )


def traffic() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Answers and failures",
            description="Answers of the page and of /v1, and what ended with an error, a second.",
            unit="reqps",
            least=0,
            queries=(
                Query(expr=answered().replace("WINDOW", WINDOW), legend="answered"),
                Query(expr=unanswered().replace("WINDOW", WINDOW), legend="failed"),
            ),
        ),
        Panel(
            title="Requests in flight",
            description="Answers being written, of the page (chat) and of /v1 (api). The autoscaler follows their sum.",
            unit="short",
            least=0,
            stacked=True,
            queries=(Query(expr=f"sum by (kind) (webui_requests_in_flight{{{WEBUI}}})", legend="{{kind}}"),),
        ),
        Panel(
            title="How long requests of /v1 take",
            description="From request to last byte.",
            unit="s",
            least=0,
            queries=quantiles(
                "webui_http_request_duration_seconds", f'{WEBUI},route=~"/v1/(chat/)?completions"', WINDOW
            ),
        ),
        Panel(
            title="How long answers of the page take",
            description="From question to last word.",
            unit="s",
            least=0,
            queries=quantiles("webui_chat_answer_duration_seconds", WEBUI),
        ),
        Panel(
            title="First word on the page",
            description="From question to first word, as people at the page see it.",
            unit="s",
            least=0,
            queries=quantiles("webui_chat_time_to_first_token_seconds", WEBUI),
        ),
    )


def first_tokens(parts: Parts) -> tuple[Panel, ...]:
    if not parts.vllm:
        return ()
    seconds = parts.objective.first_token_seconds
    return (
        Panel(
            title="First token of the engines",
            description=f"From a request's arrival in the engine to its first token. Promised: nine of ten within {seconds:g} s.",
            unit="s",
            least=0,
            thresholds=((seconds, RED),),
            queries=quantiles("vllm:time_to_first_token_seconds", f'job="{ENGINES.job}"'),
        ),
    )
