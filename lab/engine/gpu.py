"""What a GPU would show by itself: how long it has been computing. Told to the node's GPU exporter, itself a stand-in.

In a folder of the node that the stand-in for NVIDIA's runtime brings into the container, as the real one brings devices. Only
where the device plugin has given the container GPUs, so never outside the lab.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger("engine")

EVERY_SECONDS = 1.0
FOLDER = Path("/nvidia-stand-in")


class BusyTime:
    """Seconds during which at least one request was being computed: what DCGM_FI_DEV_GPU_UTIL is a share of."""

    def __init__(self) -> None:
        self._total = 0.0
        self._since: float | None = None

    def running(self, requests: int, now: float) -> None:
        """So many requests from `now` on."""
        if requests and self._since is None:
            self._since = now
        elif not requests and self._since is not None:
            self._total += now - self._since
            self._since = None

    def seconds(self, now: float) -> float:
        return self._total + (0.0 if self._since is None else now - self._since)


def devices(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that the device plugin gave this container."""
    return [each for each in environment.get("NVIDIA_VISIBLE_DEVICES", "").split(",") if each.startswith("GPU-")]


async def tell(busy: BusyTime, gpus: list[str], folder: Path = FOLDER) -> None:
    """Once a second until cancelled; nobody has to read it. The newest report is in a file of the first GPU, always whole."""
    failed = False
    while True:
        now = time.monotonic()
        report = {"devices": gpus, "busySeconds": busy.seconds(now), "clockSeconds": now}
        part = folder / f".{gpus[0]}"
        try:
            part.write_text(json.dumps(report))
            part.rename(folder / f"{gpus[0]}.json")
            failed = False
        except OSError as error:
            if not failed:
                log.warning("no GPU load is told: %s", error)
            failed = True
        await asyncio.sleep(EVERY_SECONDS)
