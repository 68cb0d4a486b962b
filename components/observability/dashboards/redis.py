"""The group that keeps the chats, as the proxies before it see it. Pure."""

from __future__ import annotations

from components.observability.alerts.service import WEBUI
from components.observability.alerts.sessions import ANSWERS, SERVER
from components.observability.dashboards.model import GREEN, RED, Dashboard, Panel, Query, Row
from components.observability.dashboards.parts import Parts
from components.observability.dashboards.queries import WINDOW
from components.observability.targets import SESSIONS


def dashboard(parts: Parts) -> Dashboard:
    rows = (Row(title="As the web UI sees it", panels=web_ui()),)
    group = (Row(title="As the proxies see it", panels=proxies()),) if parts.redis_group else ()
    return Dashboard(
        uid="qwen3-vl-redis",
        title="Redis",
        description="Where chats are kept: whether it takes writes, and which member is the primary.",
        rows=(*group, *rows),
    )


def proxies() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Primaries",
            description="Members that take writes, as most proxies see it. 1 is right; a fail-over takes some 4 seconds without.",
            unit="short",
            kind="stat",
            width=6,
            start=RED,
            thresholds=((1, GREEN), (2, RED)),
            queries=(Query(expr=f'max(sum by (pod) (haproxy_server_status{{{SERVER},state="UP"}}))'),),
        ),
        Panel(
            title="Members that answer",
            description="With two of three away nobody can choose a primary.",
            unit="short",
            kind="stat",
            width=6,
            start=RED,
            thresholds=((2, GREEN),),
            queries=(Query(expr=f"count(max by (server) (haproxy_server_check_status{{{SERVER},{ANSWERS}}}) == 1)"),),
        ),
        Panel(
            title="Who is the primary",
            description="1 for the member to which a proxy sends. All proxies should say the same.",
            unit="short",
            decimals=0,
            width=12,
            least=0,
            queries=(
                Query(
                    expr=f'max by (server) (haproxy_server_status{{{SERVER},state="UP"}})',
                    legend="{{server}}",
                ),
            ),
        ),
        Panel(
            title="Members that do not answer, by proxy",
            description="One proxy only: the way from its node. All of them: the member.",
            unit="short",
            decimals=0,
            width=12,
            least=0,
            thresholds=((1, RED),),
            queries=(
                Query(
                    expr=f"1 - max by (pod, server) (haproxy_server_check_status{{{SERVER},{ANSWERS}}})",
                    legend="{{server}} from {{pod}}",
                ),
            ),
        ),
        Panel(
            title="Proxies read",
            description="0: Prometheus cannot read the proxy of that node.",
            unit="short",
            decimals=0,
            width=12,
            least=0,
            most=1,
            queries=(Query(expr=f'up{{job="{SESSIONS.job}"}}', legend="{{node}}"),),
        ),
    )


def web_ui() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Redis answers",
            description="0 while a web UI has no answer of Redis.",
            unit="short",
            decimals=0,
            width=12,
            least=0,
            most=1,
            queries=(Query(expr=f'webui_dependency_up{{{WEBUI},dependency="redis"}}', legend="{{pod}}"),),
        ),
        Panel(
            title="Accesses that failed",
            description="A second, by web UI.",
            unit="ops",
            width=12,
            least=0,
            thresholds=((0.01, RED),),
            queries=(
                Query(expr=f"sum by (pod) (rate(webui_history_errors_total{{{WEBUI}}}[{WINDOW}]))", legend="{{pod}}"),
            ),
        ),
    )
