"""How a new version replaces the old one when GPUs are scarce, and how long that may take. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# Pulling an engine image of 10 GB over a shared 1 Gbit/s line, with room for several nodes at once.
IMAGE_PULL_SECONDS = 900
# The web UI: not ready but serving, until every node has heard of it; then answers in flight end.
DRAIN_DELAY_SECONDS, DRAIN_SECONDS = 5, 60
ENGINE_STOP_SECONDS = 15
GRACE_SECONDS = DRAIN_DELAY_SECONDS + DRAIN_SECONDS + ENGINE_STOP_SECONDS


@dataclass(frozen=True, slots=True)
class Rollout:
    """A Deployment's rolling update and the limits (seconds) on one step and on all of it."""

    max_surge: int
    max_unavailable: int
    step_seconds: int
    total_seconds: int


def rollout(*, gpus: int, replicas: int, startup_seconds: int) -> Rollout:
    """One replica at a time: on a spare GPU if there is one, else in the place of an old one.

    Without a spare GPU one replica is missing meanwhile, which with a single replica is an outage: a pod cannot start
    before the GPU that it needs is free.
    """
    spare = gpus > replicas
    step = IMAGE_PULL_SECONDS + startup_seconds
    return Rollout(
        max_surge=1 if spare else 0,
        max_unavailable=0 if spare else 1,
        step_seconds=step,
        total_seconds=IMAGE_PULL_SECONDS + max(gpus, replicas) * (startup_seconds + GRACE_SECONDS),
    )
