"""The engine as a process: the product's command line and environment, its log, and what nvidia-smi says meanwhile."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.inference.engines import engine as product
from components.inference.model import ENGINE_PORT
from components.settings import Inference

URL = f"http://127.0.0.1:{ENGINE_PORT}"
LAUNCH = "vllm serve"  # entry point of the image
# What vLLM says of itself while it starts; the first group is the figure.
LOG = {
    "kv_tokens": r"GPU KV cache size: ([\d,]+) tokens",
    "kv_gib": r"Available KV cache memory: ([\d.]+) GiB",
    "weights_gib": r"Model loading took ([\d.]+) GiB",
    "weights_seconds": r"Model loading took [\d.]+ GiB memory and ([\d.]+) seconds",
    "compile_seconds": r"torch\.compile (?:and initial profiling/warmup run together )?took ([\d.]+) s",
    "graph_seconds": r"Graph capturing finished in ([\d.]+) secs",
    "graph_gib": r"Graph capturing finished in [\d.]+ secs, took (-?[\d.]+) GiB",
    "init_seconds": r"init engine \([^)]*\) took ([\d.]+) s",
}


def read_log(text: str) -> dict[str, float]:
    """The figures of LOG that are in an engine's log, the last of each."""
    found = {name: re.findall(pattern, text) for name, pattern in LOG.items()}
    return {name: float(values[-1].replace(",", "")) for name, values in found.items() if values}


class Failed(Exception):
    """The engine ended or did not answer in time."""


@contextmanager
def running(inference: Inference, log: Path, launch: str = LAUNCH, patience: float = 600) -> Iterator[float]:
    """Gives the seconds from the process' start to its first `/health`. Raises Failed; ends the process and its children."""
    said = product(inference)
    began = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            [*shlex.split(launch), *said.arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(said.environment),
            start_new_session=True,
        )
    try:
        while not answers("/health"):
            if process.poll() is not None:
                raise Failed(f"the engine ended with {process.returncode}; {log} says why")
            if time.monotonic() - began > patience:
                raise Failed(f"the engine did not answer within {patience:g} s; see {log}")
            time.sleep(0.2)
        yield time.monotonic() - began
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """As the kubelet does it: SIGTERM, and SIGKILL to all that is left."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answers(path: str) -> bool:
    try:
        return bool(fetch(path))
    except OSError:
        return False


def fetch(path: str) -> tuple[int, str]:
    """Status and body. Raises OSError (URLError, HTTPError) otherwise."""
    with urllib.request.urlopen(URL + path, timeout=30) as answer:  # noqa: S310 - loopback
        return answer.status, answer.read().decode()


def counters() -> dict[str, float]:
    """The engine's metrics, summed over their labels: counters, gauges, and histograms' `_sum` and `_count`."""
    totals: dict[str, float] = {}
    for line in fetch("/metrics")[1].splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if not line.startswith("#") and not name.endswith("_bucket"):
            totals[name] = totals.get(name, 0.0) + float(rest.rpartition(" ")[2])
    return totals


SMI = "memory.used,memory.total,utilization.gpu,power.draw,clocks.sm,temperature.gpu"


def card() -> dict[str, float]:
    """What nvidia-smi says of the first GPU: MiB, percent, W, MHz, degrees Celsius."""
    argv = ["nvidia-smi", f"--query-gpu={SMI}", "--format=csv,noheader,nounits"]
    line = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()[0]
    return dict(zip(SMI.split(","), map(float, line.split(", ")), strict=True))
