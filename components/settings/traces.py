"""Traces: which requests are followed, and where what is seen of them goes."""

from __future__ import annotations

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import HttpUrl


class Traces(Model):
    """One trace for a request on its way through the gateway, the web UI, Redis and the engine (docs/adr/0031).

    Spans hold no questions, answers, headers or names of users.
    """

    enabled: bool = Field(default=True, description="Follow requests; false: nothing is followed and no Jaeger runs.")
    sample_percent: float = Field(
        default=10.0, ge=0, le=100, description="Share of the requests that are followed, in percent."
    )
    engine_spans: bool = Field(
        default=True,
        description="The engine tells its own part. vLLM needs OpenTelemetry in its image for it, as v0.17 and newer have; an"
        " older image in `images.overrides` does not start with it.",
    )
    retention_hours: int = Field(default=48, ge=1, le=8760, description="How long traces are kept, in hours.")
    disk_mib: int = Field(
        default=4096,
        ge=512,
        description="Room for traces in MiB on the node that Jaeger runs on; one that needs more begins anew, empty.",
    )
    memory_mib: int = Field(default=1024, ge=256, description="Jaeger's memory request and limit in MiB.")
    otlp_endpoint: HttpUrl | None = Field(
        default=None,
        description="Address of a collector of your own that takes OTLP over HTTP (port 4318 as a rule), without `/v1/traces`."
        " None: a Jaeger in the cluster.",
    )
