"""Questions to the lab's Prometheus."""

from __future__ import annotations

import urllib.parse
from typing import Any

from tests.support.lab import Lab
from tests.support.lab_inside import Inside

PROMETHEUS = Inside("observability", "service/prometheus", 9090, forwarded=19090)


def query(lab: Lab, *exprs: str) -> list[list[dict[str, Any]]]:
    """The series that each has now, as Prometheus' API shows them: `metric` and `value`."""
    found = PROMETHEUS.get(lab, *(f"/api/v1/query?query={urllib.parse.quote(expr, safe='')}" for expr in exprs))
    assert all(each["status"] == "success" for each in found), found
    return [each["data"]["result"] for each in found]


def numbers(lab: Lab, expr: str, label: str) -> dict[str, float]:
    """What an expression with one series for each value of `label` says of each."""
    (found,) = query(lab, expr)
    return {each["metric"][label]: float(each["value"][1]) for each in found}
