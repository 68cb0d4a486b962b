"""The gateway, by Traefik's metrics. Pure."""

from __future__ import annotations

from components.observability.alerts.certificate import ENDS
from components.observability.alerts.service import TRAEFIK
from components.observability.dashboards.model import GREEN, RED, YELLOW, Dashboard, Panel, Query, Row
from components.observability.dashboards.queries import WINDOW, or_zero, quantiles
from components.observability.targets import GATEWAY

ALL = f'job="{GATEWAY.job}"'


def dashboard() -> Dashboard:
    return Dashboard(
        uid="qwen3-vl-edge",
        title="Gateway",
        description="What comes in through Traefik, what becomes of it, and how long the certificate lasts.",
        rows=(Row(title="Requests", panels=requests()), Row(title="Backends and processes", panels=behind())),
    )


def requests() -> tuple[Panel, ...]:
    total = "traefik_entrypoint_requests_total"
    return (
        Panel(
            title="Requests by code",
            description="A second, of both entry points. 503: no replica is ready; 502 and 504: a replica or its node is gone.",
            unit="reqps",
            least=0,
            stacked=True,
            queries=(Query(expr=f"sum by (code) (rate({total}{{{TRAEFIK}}}[{WINDOW}]))", legend="{{code}}"),),
        ),
        Panel(
            title="Share of errors",
            description="5xx among all requests.",
            unit="percentunit",
            least=0,
            thresholds=((0.05, RED),),
            queries=(
                Query(
                    expr=f'(sum(rate({total}{{{TRAEFIK},code=~"5.."}}[{WINDOW}])) or vector(0))'
                    f" / (sum(rate({total}{{{TRAEFIK}}}[{WINDOW}])) > 0)",
                    legend="5xx",
                ),
            ),
        ),
        Panel(
            title="How long requests take",
            description="Up to the last byte; an open page holds one request all the time. Traefik's bounds: 0.1, 0.3, 1.2, 5 s.",
            unit="s",
            least=0,
            queries=quantiles("traefik_entrypoint_request_duration_seconds", TRAEFIK),
        ),
        Panel(
            title="Received",
            description="Bytes of requests a second; images are most of it.",
            unit="Bps",
            least=0,
            queries=(
                Query(
                    expr=f"sum by (pod) (rate(traefik_entrypoint_requests_bytes_total{{{TRAEFIK}}}[{WINDOW}]))",
                    legend="{{pod}}",
                ),
            ),
        ),
        Panel(
            title="Sent",
            description="Bytes of answers a second.",
            unit="Bps",
            least=0,
            queries=(
                Query(
                    expr=f"sum by (pod) (rate(traefik_entrypoint_responses_bytes_total{{{TRAEFIK}}}[{WINDOW}]))",
                    legend="{{pod}}",
                ),
            ),
        ),
        Panel(
            title="Open connections",
            description="By gateway. Far apart: the address is announced by one node, which is usual.",
            unit="short",
            least=0,
            queries=(Query(expr=f"sum by (pod) (traefik_open_connections{{{TRAEFIK}}})", legend="{{pod}}"),),
        ),
    )


def behind() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Requests by backend",
            description="A second. The web UI has one backend for each size of body.",
            unit="reqps",
            least=0,
            stacked=True,
            queries=(
                Query(
                    expr=f"sum by (service) (rate(traefik_service_requests_total{{{ALL}}}[{WINDOW}]))",
                    legend="{{service}}",
                ),
            ),
        ),
        Panel(
            title="Asked a second time",
            description="Requests that a backend did not take and another one was asked for, a second.",
            unit="reqps",
            least=0,
            queries=(
                Query(expr=or_zero(f"sum(rate(traefik_service_retries_total{{{ALL}}}[{WINDOW}]))"), legend="retries"),
            ),
        ),
        Panel(
            title="Certificate ends in",
            description="Of the certificate that ends first.",
            unit="s",
            kind="stat",
            start=RED,
            thresholds=((7 * 86400, YELLOW), (14 * 86400, GREEN)),
            empty="There is none.",
            queries=(Query(expr=f"min({ENDS}) - time()"),),
        ),
        Panel(
            title="Memory",
            description="Resident memory of each gateway; bodies of requests in flight are most of it.",
            unit="bytes",
            least=0,
            queries=(Query(expr=f"process_resident_memory_bytes{{{ALL}}}", legend="{{pod}} on {{node}}"),),
        ),
        Panel(
            title="Processor",
            description="Cores that each gateway uses; its limit is 2.",
            unit="short",
            least=0,
            thresholds=((1.8, RED),),
            queries=(Query(expr=f"rate(process_cpu_seconds_total{{{ALL}}}[{WINDOW}])", legend="{{pod}} on {{node}}"),),
        ),
        Panel(
            title="Configuration read",
            description="When each gateway last took over a configuration.",
            unit="dateTimeFromNow",
            kind="bargauge",
            queries=(Query(expr=f"traefik_config_last_reload_success{{{ALL}}} * 1000", legend="{{pod}}"),),
        ),
    )
