"""Questions to the lab's Loki."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.support.lab import Lab
from tests.support.lab_inside import Inside

LOKI = Inside("observability", "service/loki", 3100, forwarded=19100)
API = "/loki/api/v1"


@dataclass(frozen=True, slots=True)
class Line:
    labels: dict[str, str]  # with what is kept beside the line
    text: str


def data(lab: Lab, *paths: str) -> list[Any]:
    found = LOKI.get(lab, *paths)
    assert all(each["status"] == "success" for each in found), found
    return [each["data"] for each in found]


def lines(lab: Lab, *exprs: str, minutes: int = 60, limit: int = 100) -> list[list[Line]]:
    """The newest lines for each expression."""
    asked = (f"{API}/query_range?query={quote(expr, safe='')}&since={minutes}m&limit={limit}" for expr in exprs)
    return [
        [Line(stream["stream"], text) for stream in found["result"] for _, text in stream["values"]]
        for found in data(lab, *asked)
    ]


def numbers(lab: Lab, *exprs: str) -> list[list[dict[str, Any]]]:
    """The series that each has now: `metric` and `value`."""
    return [found["result"] for found in data(lab, *(f"{API}/query?query={quote(expr, safe='')}" for expr in exprs))]


def wait_for(lab: Lab, expr: str, count: int = 1, within: float = 120) -> list[Line]:
    """The lines, as soon as there are so many."""
    end = time.monotonic() + within
    while len((found := lines(lab, expr))[0]) < count:
        assert time.monotonic() < end, f"{len(found[0])} of {count} lines after {within:g} s: {expr}"
        time.sleep(3)
    return found[0]
