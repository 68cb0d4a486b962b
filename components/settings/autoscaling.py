"""How the number of replicas follows the load."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from components.settings.base import Model

MOST_REPLICAS = 5  # the manual's


class Autoscaling(Model):
    """The HorizontalPodAutoscaler `qwen3-vl-hpa` and the metric chain below it."""

    enabled: bool = Field(
        default=True,
        description="Off: `inference.replicas` is the number. It follows metrics, so `observability.enabled` is on.",
    )
    min_replicas: int | None = Field(default=None, ge=1, description="Fewest replicas; `inference.replicas` if absent.")
    max_replicas: int | None = Field(
        default=None, ge=1, description="Most replicas; if absent 5, or the number of GPUs where there are fewer."
    )
    cpu_percent: int = Field(
        default=70, ge=1, le=1000, description="Wanted CPU use of the replicas, in percent of their requests."
    )
    gpu_utilization: int = Field(
        default=80,
        ge=0,
        le=100,
        description="Wanted utilisation of the replicas' GPUs on average, in percent. 0 leaves it out, as it must be where no"
        " DCGM exporter runs: a signal without a value would hold every replica for ever.",
    )
    requests_in_flight: float = Field(
        default=8.0, gt=0, le=4096, description="Wanted requests in flight per replica, waiting ones included."
    )
    window_seconds: int = Field(
        default=60,
        ge=10,
        le=600,
        description="GPU utilisation and requests in flight are averaged over so many seconds.",
    )
    scale_in_seconds: int = Field(
        default=600, ge=0, le=3600, description="A replica leaves once none of so many seconds needed it."
    )


class Bounds(NamedTuple):
    """Fewest and most replicas."""

    fewest: int
    most: int


def bounds(autoscaling: Autoscaling, *, replicas: int, gpus: int) -> Bounds:
    """What is configured, and for what is not: from the first size to 5, or to as many replicas as there are GPUs."""
    fewest = autoscaling.min_replicas or replicas
    return Bounds(fewest, autoscaling.max_replicas or min(gpus, max(MOST_REPLICAS, fewest)))
