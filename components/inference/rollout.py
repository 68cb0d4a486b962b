"""How a new version replaces the old one when GPUs are scarce, and how long that may take. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from components.settings import Inference
from components.settings.inference import IMAGE_PULL_SECONDS


@dataclass(frozen=True, slots=True)
class Rollout:
    """A Deployment's rolling update and the limits (seconds) on one step and on all of it."""

    max_surge: int
    max_unavailable: int
    step_seconds: int
    create_seconds: int
    total_seconds: int


def rollout(inference: Inference, *, gpus: int, most_replicas: int) -> Rollout:
    """One replica at a time: on a spare GPU if there is always one, else in the place of an old one.

    `most_replicas` is how many may ever run, because a surge that counts on a GPU which scaling out has taken meanwhile waits for
    ever. Without a spare one a replica is missing during each step; with a single replica that is an outage, which the settings
    refuse unless it is accepted. A step in place lasts as long as the old replica's leaving and the new one's start.
    """
    spare = gpus > most_replicas
    steps = max(gpus, most_replicas)
    total = IMAGE_PULL_SECONDS + steps * (inference.startup_budget_seconds + inference.grace_seconds)
    return Rollout(
        max_surge=1 if spare else 0,
        max_unavailable=0 if spare else 1,
        step_seconds=inference.step_seconds + (0 if spare else inference.grace_seconds),
        create_seconds=inference.await_seconds or inference.step_seconds,
        total_seconds=inference.await_seconds or total,
    )
