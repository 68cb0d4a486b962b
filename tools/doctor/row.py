"""One line of the report, and what all of them come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "unknown", "warning", "critical"]
# Fine; somebody has to look (also where nothing could be learnt); users are not served, or data or the cluster is at risk.
EXIT: dict[Status, int] = {"ok": 0, "unknown": 1, "warning": 1, "critical": 2}
_ORDER: tuple[Status, ...] = ("ok", "unknown", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is not as it should be, and what to do about it."""

    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """`about` is the subject, `name` one of its kind (a node), or empty; `values` are for scripts."""

    about: str
    name: str
    status: Status
    text: str
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return f"{self.about} {self.name}".strip()


def row(about: str, name: str, fine: str, problems: Iterable[Problem], values: dict[str, Any] | None = None) -> Row:
    """As bad as the worst of its problems. What is fine is told in any case, behind them."""
    found = sorted(problems, key=lambda problem: -_ORDER.index(problem.status))
    text = "; ".join([*(problem.text for problem in found), *([fine] if fine else [])])
    return Row(about, name, found[0].status if found else "ok", text, values or {})


def unknown(about: str, name: str, why: str) -> Row:
    return Row(about, name, "unknown", " ".join(why.split()))


def worst(rows: Sequence[Row]) -> Status:
    return max((each.status for each in rows), key=_ORDER.index, default="ok")


def exit_code(rows: Sequence[Row]) -> int:
    return EXIT[worst(rows)]


def as_mapping(stack: str, seconds: float, rows: Sequence[Row]) -> dict[str, Any]:
    """For `--json`. Keys are only ever added."""
    return {
        "stack": stack,
        "status": worst(rows),
        "exitCode": exit_code(rows),
        "seconds": round(seconds, 1),
        "rows": [
            {"about": each.about, "name": each.name, "status": each.status, "text": each.text, "values": each.values}
            for each in rows
        ],
    }


def as_table(stack: str, seconds: float, rows: Sequence[Row]) -> str:
    width = max((len(each.subject) for each in rows), default=0)
    lines = [f"{each.status:<8}  {each.subject:<{width}}  {each.text}" for each in rows]
    counted = {status: sum(each.status == status for each in rows) for status in reversed(_ORDER)}
    summary = ", ".join(f"{count} {status}" for status, count in counted.items() if count)
    return "\n".join([*lines, "", f"{stack}: {worst(rows)} ({summary}) after {seconds:.1f} s"])
