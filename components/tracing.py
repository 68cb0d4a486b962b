"""Where spans are told, by whoever serves a request. Pure.

A name and not a resource: gateway and web UI come before the Jaeger that they tell, and serve without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.settings import Settings

JAEGER = "jaeger"
JAEGER_NAMESPACE = "observability"
OTLP_HTTP_PORT, JAEGER_QUERY_PORT, JAEGER_METRICS_PORT = 4318, 16686, 8888


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracing:
    url: str  # of a collector's OTLP over HTTP, without a path's end
    sample_percent: float
    engine_spans: bool

    @property
    def traces_url(self) -> str:
        return f"{self.url}/v1/traces"


def tracing(settings: Settings) -> Tracing | None:
    """None where no request is followed, or where there is nobody to tell it to."""
    traces = settings.observability.traces
    if not traces.enabled or (traces.otlp_endpoint is None and not jaeger_runs(settings)):
        return None
    # The whole name, so that no resolver asks for anything else first.
    ours = f"http://{JAEGER}.{JAEGER_NAMESPACE}.svc.{settings.kubernetes.dns_domain}:{OTLP_HTTP_PORT}"
    return Tracing(
        url=(traces.otlp_endpoint or ours).rstrip("/"),
        sample_percent=traces.sample_percent,
        engine_spans=traces.engine_spans,
    )


def jaeger_runs(settings: Settings) -> bool:
    """Where this program watches at all, and no other collector is named."""
    traces = settings.observability.traces
    return settings.observability.enabled and traces.enabled and traces.otlp_endpoint is None
