"""The stand-in for NVIDIA's DCGM exporter: its own Go tests, and the engine's stand-in speaking to it as it does on a node."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from gpu import EVERY_SECONDS, BusyTime, devices, tell

FOLDER = Path(__file__).resolve().parents[2] / "tools/lab-dcgm-exporter"


@pytest.mark.engine
def test_it_tells_who_holds_a_gpu_and_how_busy_it_is() -> None:
    done = subprocess.run(
        ["go", "test", "-mod=readonly", "-count=1", "-v", "./..."],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--- PASS: TestEveryGpuIsToldWithItsHolder" in done.stdout


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


def test_the_engine_says_what_the_exporter_reads() -> None:
    busy = BusyTime()
    busy.running(1, time.monotonic())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(30)

        async def heard() -> list[dict[str, Any]]:
            telling = asyncio.create_task(tell(busy, ["GPU-1"], "127.0.0.1", listener.getsockname()[1]))
            found = [json.loads(await asyncio.to_thread(listener.recv, 4096)) for _ in range(2)]
            telling.cancel()
            return found

        first, second = asyncio.run(heard())
    # The names of the fields are those of `report` in tools/lab-dcgm-exporter/main.go.
    for field in first:
        assert f'`json:"{field}"`' in (FOLDER / "main.go").read_text()
    assert first["devices"] == ["GPU-1"]
    passed = second["clockSeconds"] - first["clockSeconds"]
    assert passed >= EVERY_SECONDS * 0.9
    assert second["busySeconds"] - first["busySeconds"] == pytest.approx(passed, rel=0.01)
