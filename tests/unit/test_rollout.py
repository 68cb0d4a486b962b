"""How a new version takes the place of the old one, by the GPUs there are."""

from __future__ import annotations

import pytest

from components.inference.rollout import rollout
from components.settings import Inference
from components.settings.inference import IMAGE_PULL_SECONDS

INFERENCE = Inference(startup_seconds=900)


@pytest.mark.parametrize(
    ("gpus", "replicas", "surge", "unavailable"),
    [
        (2, 2, 0, 1),  # the manual's cluster: no GPU to start a third replica on
        (3, 2, 1, 0),
        (8, 2, 1, 0),  # one at a time, however many are free
        (1, 1, 0, 1),  # an outage, because the only GPU is taken
        (2, 1, 1, 0),
        (0, 1, 0, 1),  # a preview before the GPUs are named
        (5, 5, 0, 1),  # two now, but five once scaled out: a surge would wait for a sixth GPU
    ],
)
def test_a_spare_gpu_is_used_and_none_is_waited_for(gpus: int, replicas: int, surge: int, unavailable: int) -> None:
    plan = rollout(INFERENCE, gpus=gpus, most_replicas=replicas)
    assert (plan.max_surge, plan.max_unavailable) == (surge, unavailable)


@pytest.mark.parametrize("gpus", range(6))
@pytest.mark.parametrize("replicas", range(1, 6))
def test_a_step_is_always_possible(gpus: int, replicas: int) -> None:
    """Either there is a GPU for one more than ever run, or an old one may go first."""
    plan = rollout(INFERENCE, gpus=gpus, most_replicas=replicas)
    assert plan.max_unavailable >= 1 or gpus >= replicas + plan.max_surge
    assert plan.max_surge + plan.max_unavailable == 1


def test_limits_hold_for_the_slowest_replica_that_is_still_allowed() -> None:
    plan = rollout(INFERENCE, gpus=4, most_replicas=2)
    assert plan.step_seconds == IMAGE_PULL_SECONDS + 900
    # Scaled to all four GPUs meanwhile, replaced one after another, each after the old one has drained.
    assert plan.total_seconds >= IMAGE_PULL_SECONDS + 4 * (900 + INFERENCE.grace_seconds)


def test_a_step_in_place_waits_for_the_old_replica_too() -> None:
    in_place, beside = (rollout(INFERENCE, gpus=gpus, most_replicas=2).step_seconds for gpus in (2, 3))
    assert in_place - beside == INFERENCE.grace_seconds


def test_the_operator_may_wait_longer() -> None:
    plan = rollout(Inference(await_seconds=7200), gpus=2, most_replicas=2)
    assert (plan.create_seconds, plan.total_seconds) == (7200, 7200)


def test_a_pod_may_take_longer_to_leave_than_its_web_ui() -> None:
    assert INFERENCE.grace_seconds > INFERENCE.drain_delay_seconds + INFERENCE.effective_drain_seconds
