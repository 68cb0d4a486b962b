"""Where the logs of nodes and pods are kept, how long, and how much room they take."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import Bucket, HttpUrl


class LogStorage(Model):
    """Room for logs."""

    kind: Literal["disk", "s3"] = Field(
        default="disk",
        description="`disk`: of the node that Loki runs on, gone with its pod; `s3`: a bucket, which outlives every node.",
    )
    endpoint: HttpUrl | None = Field(default=None, description="`s3`: address of the store.")
    bucket: Bucket | None = Field(default=None, description="`s3`: bucket of the logs alone.")
    region: str = Field(default="us-east-1", description="`s3`: region the requests are signed for.")


class Logs(Model):
    """Loki, and a collector on every node that brings it what pods, kubelet, containerd and API server say (docs/adr/0030).

    They run where Prometheus does: with `observability.enabled`.
    """

    enabled: bool = Field(default=True, description="Collect logs, and tell where that fails.")
    storage: LogStorage = Field(default=LogStorage(), description="Where logs are kept.")
    retention_hours: int = Field(default=168, ge=24, le=8760, description="How long logs are kept, in hours.")
    disk_mib: int = Field(
        default=20480,
        ge=512,
        description="Disk of each Loki in MiB; with `s3` only what has not been sent yet and the index.",
    )
    memory_mib: int = Field(default=1024, ge=192, description="Memory request and limit of each Loki in MiB.")
    collector_memory_mib: int = Field(
        default=192, ge=96, description="Memory request and limit of the collector on each node in MiB."
    )
    queue_mib: int = Field(
        default=256,
        ge=16,
        description="Disk on each node for logs that Loki does not take yet, in MiB; more than that waits in the files.",
    )
    exclude_namespaces: tuple[str, ...] = Field(default=(), description="Namespaces whose pods' logs are not read.")
