"""What pods write, by Loki. Its labels are `namespace`, `app`, `container` and `node`. Pure."""

from __future__ import annotations

from components.observability.dashboards.model import Dashboard, Panel, Query, Row

ERRORS = '|~ "(?i)\\\\b(error|fatal|panic|critical|traceback)\\\\b"'


def dashboard() -> Dashboard:
    return Dashboard(
        uid="qwen3-vl-logs",
        title="Logs",
        description="How much is written and by whom, and the lines that say what went wrong. Explore finds the rest.",
        rows=(
            Row(
                title="How much",
                panels=(
                    rate(
                        "Lines by namespace",
                        "A second.",
                        'sum by (namespace) (rate({namespace=~".+"}[5m]))',
                        "{{namespace}}",
                    ),
                    rate(
                        "Lines with an error, by app",
                        "A second. A line counts that has a word like error, fatal or panic.",
                        f'sum by (app) (rate({{namespace=~".+"}} {ERRORS} [5m]))',
                        "{{app}}",
                    ),
                    rate(
                        "Lines by node",
                        "A second. A node without any is one whose collector is gone.",
                        'sum by (node) (rate({namespace=~".+"}[5m]))',
                        "{{node}}",
                    ),
                ),
            ),
            Row(
                title="Service",
                panels=(
                    lines("Web UI", "Of all replicas.", '{namespace="default",app="qwen3-vl-webui",container="webui"}'),
                    lines(
                        "Engine", "Of all replicas.", '{namespace="default",app="qwen3-vl-webui",container="engine"}'
                    ),
                    lines(
                        "Gateway, failed requests",
                        "Traefik's access log: 5xx.",
                        '{namespace="traefik",app="traefik"} | json | DownstreamStatus >= 500',
                    ),
                    lines("Redis", "Members and proxies.", '{namespace="default",app=~"redis|redis-proxy"}'),
                ),
            ),
            Row(
                title="Everything else",
                panels=(
                    lines(
                        "Errors anywhere",
                        "Lines with a word like error, fatal or panic.",
                        f'{{namespace=~".+"}} {ERRORS}',
                        width=24,
                    ),
                ),
            ),
        ),
        hours=1,
    )


def rate(title: str, description: str, expr: str, legend: str) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit="cps",
        source="loki",
        least=0,
        stacked=True,
        queries=(Query(expr=expr, legend=legend),),
    )


def lines(title: str, description: str, expr: str, width: int = 12) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit="none",
        kind="logs",
        source="loki",
        width=width,
        height=9,
        queries=(Query(expr=expr),),
    )
