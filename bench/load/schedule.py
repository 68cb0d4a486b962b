"""When each request is due, decided before the first one is sent, so no answer can delay a question."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

Arrivals = Literal["poisson", "constant"]

MAX_RATE = 2000.0
MAX_SECONDS = 3600.0
MAX_REQUESTS = 200_000


class OutOfBounds(ValueError):
    """The load asked for is not one this program sends."""


def due_times(arrivals: Arrivals, rate: float, seconds: float, limit: int, seed: int) -> list[float]:
    """Seconds after the start, ascending, below `seconds`, at most `limit` of them.

    `poisson` is how independent users come: gaps are exponential, and the same seed gives the same times. `constant` is
    evenly spaced, which is kinder to a server: no two arrive together. Raises OutOfBounds.
    """
    for what, found, most in (
        ("rate", rate, MAX_RATE),
        ("seconds", seconds, MAX_SECONDS),
        ("limit", limit, MAX_REQUESTS),
    ):
        if not 0 < found <= most:
            raise OutOfBounds(f"--{what}: {found:g}; must be above 0 and at most {most:g}. Give another one")
    times: list[float] = []
    for due in _poisson(rate, seed) if arrivals == "poisson" else _constant(rate):
        if due >= seconds or len(times) == limit:
            return times
        times.append(due)
    raise AssertionError("both processes are endless")


def _poisson(rate: float, seed: int) -> Iterator[float]:
    gaps = random.Random(seed)  # noqa: S311  repeatable on purpose
    due = 0.0
    while True:
        due += gaps.expovariate(rate)
        yield due


def _constant(rate: float) -> Iterator[float]:
    number = 0
    while True:
        yield number / rate
        number += 1
