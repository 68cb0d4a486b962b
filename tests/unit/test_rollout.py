"""How a new version takes the place of the old one, by the GPUs there are."""

from __future__ import annotations

import pytest

from components.inference.rollout import DRAIN_DELAY_SECONDS, DRAIN_SECONDS, GRACE_SECONDS, IMAGE_PULL_SECONDS, rollout


@pytest.mark.parametrize(
    ("gpus", "replicas", "surge", "unavailable"),
    [
        (2, 2, 0, 1),  # the manual's cluster: no GPU to start a third replica on
        (3, 2, 1, 0),
        (8, 2, 1, 0),  # one at a time, however many are free
        (1, 1, 0, 1),  # an outage, because the only GPU is taken
        (2, 1, 1, 0),
        (0, 1, 0, 1),  # a preview before the GPUs are named
    ],
)
def test_a_spare_gpu_is_used_and_none_is_waited_for(gpus: int, replicas: int, surge: int, unavailable: int) -> None:
    plan = rollout(gpus=gpus, replicas=replicas, startup_seconds=900)
    assert (plan.max_surge, plan.max_unavailable) == (surge, unavailable)


def test_limits_hold_for_the_slowest_replica_that_is_still_allowed() -> None:
    plan = rollout(gpus=4, replicas=2, startup_seconds=900)
    assert plan.step_seconds == IMAGE_PULL_SECONDS + 900
    # Scaled to all four GPUs meanwhile, replaced one after another, each after the old one has drained.
    assert plan.total_seconds >= IMAGE_PULL_SECONDS + 4 * (900 + GRACE_SECONDS)


def test_a_pod_may_take_longer_to_leave_than_its_web_ui() -> None:
    assert GRACE_SECONDS > DRAIN_DELAY_SECONDS + DRAIN_SECONDS
