"""A real collector brings a real Loki what containerd has written: once, without secrets, and what Loki missed as well."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from components.settings.logs import Logs
from tests.support.chat_processes import fetch, metric
from tests.support.logs import NODE, Collector, Loki, are_built
from tests.support.waiting import until

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not are_built(), reason="needs tools/build loki otel-collector"),
]
LOGS_OF_A_TEST = Logs(enabled=True, retention_hours=24, memory_mib=256, collector_memory_mib=96, queue_mib=16)
POD = "web-7c9d8bfb5c-x2x4z"
FAILED = "otelcol_exporter_send_failed_log_records_total"


@pytest.fixture(scope="module")
def loki() -> Iterator[Loki]:
    store = Loki(LOGS_OF_A_TEST)
    store.start(within=120)
    yield store
    store.__exit__(None, None, None)


@pytest.fixture(scope="module")
def collector(loki: Loki) -> Iterator[Collector]:
    with Collector(LOGS_OF_A_TEST, loki.url) as running:
        yield running


def of(container: str) -> str:
    return f'{{namespace="default",container="{container}"}}'


def test_a_line_arrives_with_its_labels_and_without_its_secret(loki: Loki, collector: Collector) -> None:
    collector.write(POD, "webui", "logged in with password=hunter2 as alice")
    (line,) = loki.wait_for(of("webui"))
    assert line.text == "logged in with password=*** as alice"
    assert line.labels == {
        "namespace": "default",
        "app": "web",
        "container": "webui",
        "node": NODE,
        "source": "pods",
    }
    assert line.beside["pod"] == POD
    assert "hunter2" not in str(line)


def test_a_long_line_that_containerd_has_cut_is_one_again(loki: Loki, collector: Collector) -> None:
    collector.write(POD, "cut", "the first half ", flag="P")
    collector.write(POD, "cut", "and the second")
    (line,) = loki.wait_for(of("cut"))
    assert line.text == "the first half and the second"


def test_after_a_restart_nothing_is_sent_twice(loki: Loki, collector: Collector) -> None:
    collector.write(POD, "restart", *(f"before {number}" for number in range(20)))
    loki.wait_for(of("restart"), 20)
    received = metric(loki.metrics_url, "loki_distributor_lines_received_total")
    collector.signal(signal.SIGTERM)
    assert collector.wait() == 0
    collector.write(POD, "restart", "while it was away")
    collector.start()
    assert len(loki.wait_for(of("restart"), 21)) == 21
    time.sleep(3)  # a second copy would come with the next look at the files
    assert metric(loki.metrics_url, "loki_distributor_lines_received_total") == received + 1


def test_what_is_written_without_loki_arrives_when_it_is_back(loki: Loki, collector: Collector) -> None:
    collector.write(POD, "away", "before")
    loki.wait_for(of("away"))
    loki.kill()
    collector.write(POD, "away", *(f"meanwhile {number}" for number in range(50)))
    until(lambda: metric(collector.metrics_url, "otelcol_exporter_queue_size") > 0, "lines in the queue", 30)
    collector.kill()  # not even a collector that dies meanwhile loses them
    collector.start()
    loki.start(within=120)
    found = loki.wait_for(of("away"), 51, within=60)
    assert sorted({line.text for line in found}) == sorted(["before", *(f"meanwhile {n}" for n in range(50))])
    until(lambda: metric(collector.metrics_url, "otelcol_exporter_queue_size") == 0, "an empty queue", 30)


def test_what_alerts_ask_for_is_there(loki: Loki, collector: Collector) -> None:
    """Names of both programs' metrics are said by no code of this repository. What Loki refuses for good is counted."""
    collector.write(POD, "old", "from long ago", at=datetime.now(UTC) - timedelta(days=30))
    until(lambda: f"\n{FAILED}{{" in fetch(collector.metrics_url)[1].decode(), "lines that were refused", 30)
    assert metric(collector.metrics_url, FAILED) >= 1
    assert metric(collector.metrics_url, "otelcol_exporter_queue_capacity") == LOGS_OF_A_TEST.queue_mib << 20
    collector.write(POD, "kept", "a line")
    loki.wait_for(of("kept"))
    assert fetch(f"{loki.url}/flush", b"")[0] == 204
    until(
        lambda: "\nloki_ingester_chunk_stored_bytes_total{" in fetch(loki.metrics_url)[1].decode(),
        "a chunk that is stored",
        30,
    )
