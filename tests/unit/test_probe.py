"""The judge of the fail-over tests must see an answer that others wait for."""

from __future__ import annotations

import itertools
import threading

from tests.support.probe import Probe


def test_a_call_that_hangs_does_not_hide_the_answers_of_the_others() -> None:
    released, calls = threading.Event(), itertools.count()

    def first_one_hangs() -> None:
        if next(calls) == 0:
            released.wait(30)
            raise OSError("timed out")

    with Probe(first_one_hangs, interval=0.01, lanes=3) as probe:
        probe.wait_for_answer_after(0, 10)
        released.set()
    assert probe.answered
    assert [why for _, why in probe.failures] == ["OSError('timed out')"]
