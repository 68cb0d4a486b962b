"""The rows of everything that was seen, in the order in which they are read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tools.doctor import control, nodes, service
from tools.doctor.row import Row, unknown
from tools.doctor.seen import Seen

Judge = Callable[[Seen], Iterable[Row] | Row | None]
JUDGES: tuple[tuple[str, Judge], ...] = (
    ("node", nodes.node_rows),
    ("versions", nodes.version_row),
    ("certificates", nodes.certificate_row),
    ("packet filter", nodes.firewall_row),
    ("API", control.api_row),
    ("etcd", control.etcd_row),
    ("snapshots", control.snapshot_row),
    ("GPUs", service.gpu_rows),
    ("model", service.model_rows),
    ("replicas", service.replica_rows),
    ("Redis", service.redis_row),
    ("gateway", service.gateway_row),
    ("alerts", service.alert_row),
    ("question", service.question_row),
)


def report(seen: Seen) -> list[Row]:
    return [row for about, judge in JUDGES for row in judged(about, judge, seen)]


def judged(about: str, judge: Judge, seen: Seen) -> Iterator[Row]:
    """An answer in a form that nobody expected is one row that is not known, and no end of the report."""
    try:
        found = judge(seen)
        if found is not None:
            yield from [found] if isinstance(found, Row) else list(found)
    except Exception as error:
        yield unknown(about, "", f"the answer could not be read ({type(error).__name__}: {error}); report this")
