"""The results as numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from image_scan.findings import image_list, readable
from image_scan.results import SUFFIX


class Results(Collector):
    """Read anew each time: the kubelet changes the files of a mounted ConfigMap in place.

    A result of another reference than the list's is none: it says nothing about the image that runs now. `started` is the second
    from which on a result is waited for that has never been there.
    """

    def __init__(self, results: Path, images: Path, started: float) -> None:
        self._results, self._images, self._started = results, images, started

    def collect(self) -> Iterator[Metric]:
        counts = GaugeMetricFamily(
            "image_vulnerabilities", "Known vulnerabilities of an image.", labels=["image", "severity", "fixable"]
        )
        since = GaugeMetricFamily(
            "image_scan_waiting_since_timestamp_seconds",
            "When an image was scanned last, or since when its first scan is waited for.",
            labels=["image"],
        )
        for name, reference in image_list(self._images.read_text()).items():
            path = self._results / f"{name}{SUFFIX}"
            result = readable(path.read_text(), reference) if path.is_file() else None
            since.add_metric([name], float(result["scanned"]) if result else self._started)
            for severity, (fixable, unfixed) in (result["counts"] if result else {}).items():
                counts.add_metric([name, severity, "true"], float(fixable))
                counts.add_metric([name, severity, "false"], float(unfixed))
        yield counts
        yield since
