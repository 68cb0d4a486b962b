"""Numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from model_cache.board import Board

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """`origin` is `source` or `peer`."""

    def __init__(self, board: Board) -> None:
        self.registry = CollectorRegistry()
        self.received = Counter(
            "model_cache_received_bytes", "Bytes read, by where from.", ["origin"], registry=self.registry
        )
        self.sent = Counter("model_cache_sent_bytes", "Bytes sent to other workers.", registry=self.registry)
        self.rejected = Counter(
            "model_cache_rejected_files",
            "Files thrown away because their digest was not the manifest's.",
            ["origin"],
            registry=self.registry,
        )
        self.failures = Counter("model_cache_failures", "Attempts that failed.", ["origin"], registry=self.registry)
        self.collected = Counter("model_cache_collected_revisions", "Old revisions removed.", registry=self.registry)
        for origin in ("source", "peer"):
            for counter in (self.received, self.rejected, self.failures):
                counter.labels(origin)
        self.registry.register(_Copy(board))


class _Copy(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        status = self._board.status()
        complete = GaugeMetricFamily(
            "model_cache_complete", "1 when the pinned revision is whole here.", labels=["model", "revision"]
        )
        complete.add_metric([self._board.model, self._board.revision], float(self._board.complete))
        yield complete
        for name, key, text in (
            ("model_cache_bytes", "bytes", "Bytes of the pinned revision on this node."),
            ("model_cache_wanted_bytes", "of_bytes", "Bytes of the whole revision."),
        ):
            yield GaugeMetricFamily(name, text, value=float(str(status[key])))
