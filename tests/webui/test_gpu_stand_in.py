"""The engine's stand-in tells the DCGM exporter's how busy its GPU is, as on a node of the lab."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from gpu import EVERY_SECONDS, BusyTime, devices, tell

FOLDER = Path(__file__).resolve().parents[2] / "tools/lab-dcgm-exporter"


def test_busy_time_is_counted_once_however_many_requests_run() -> None:
    busy = BusyTime()
    for requests, now in ((1, 10.0), (2, 11.0), (1, 12.0), (0, 13.0), (0, 20.0), (1, 30.0)):
        busy.running(requests, now)
    assert busy.seconds(30.5) == pytest.approx(3.5)
    assert busy.seconds(31.0) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, []), ("all", []), ("void", []), ("GPU-1", ["GPU-1"]), ("GPU-1,GPU-2", ["GPU-1", "GPU-2"])],
)
def test_only_gpus_that_were_allocated_count(value: str | None, found: list[str]) -> None:
    assert devices({"NVIDIA_VISIBLE_DEVICES": value} if value is not None else {}) == found


def test_the_engine_says_what_the_exporter_reads(tmp_path: Path) -> None:
    busy = BusyTime()
    busy.running(1, time.monotonic())
    file = tmp_path / "GPU-1.json"

    async def written() -> list[dict[str, Any]]:
        telling = asyncio.create_task(tell(busy, ["GPU-1", "GPU-2"], tmp_path))
        found: list[dict[str, Any]] = []
        for _ in range(600):
            await asyncio.sleep(0.1)
            if file.exists() and (said := json.loads(file.read_text())) not in found:
                found.append(said)
            if len(found) == 2:
                break
        telling.cancel()
        return found

    first, second = asyncio.run(written())
    # The names of the fields are those of `report` in tools/lab-dcgm-exporter/main.go.
    for field in first:
        assert f'`json:"{field}"`' in (FOLDER / "main.go").read_text()
    assert first["devices"] == ["GPU-1", "GPU-2"]
    passed = second["clockSeconds"] - first["clockSeconds"]
    assert passed >= EVERY_SECONDS * 0.9
    assert second["busySeconds"] - first["busySeconds"] == pytest.approx(passed, rel=0.01)
