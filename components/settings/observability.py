"""What watches the service."""

from __future__ import annotations

from pydantic import Field

from components.settings.base import Model


class Prometheus(Model):
    """The Prometheus that the scaling metrics come from."""

    scrape_seconds: int = Field(default=15, ge=1, le=60, description="Seconds between two readings of a target.")
    retention_hours: int = Field(default=24, ge=2, le=8760, description="How long samples are kept, in hours.")
    memory_mib: int = Field(default=1024, ge=128, description="Memory request and limit in MiB.")
    disk_mib: int = Field(
        default=8192, ge=256, description="Room for samples in MiB on the node it runs on; the oldest go first."
    )


class Observability(Model):
    """What watches the service."""

    prometheus: Prometheus = Field(default=Prometheus(), description="Samples and what is computed from them.")
