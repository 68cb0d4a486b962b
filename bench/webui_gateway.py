"""What the web UI adds to an API request with a 300 KB image: added latency, CPU per request, saturation.

    python -m bench.webui_gateway --rates 35 70 140 --seconds 20

An upstream of its own (reads the body, answers 1 KB at once) stands where the engine would be, so that only the gateway
is measured: the same requests go to it directly and through the web UI, taking turns, open loop (a late answer delays no
other request). Figures are JSON on standard output. CPU seconds hold on a busy machine, wall times there do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.chat_processes import Engine, Process, Redis, WebUi, free_port

ANSWER = json.dumps({"choices": [{"message": {"content": "x" * 900}}]}).encode()


class Upstream(Engine):
    """This file again, as a server."""

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).resolve()), "--serve", str(self.port)]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}


def serve(port: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=ANSWER, content_type="application/json")

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


def cpu_seconds(process: Process) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(url: str, rate: float, seconds: float, body: bytes) -> tuple[list[float], int]:
    """Latencies (seconds) of the answered requests, and how many failed."""
    latencies: list[float] = []
    failed = 0
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:

        async def one(due: float) -> None:
            nonlocal failed
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            unique = secrets.token_hex(8).encode() + body[16:]
            try:
                async with session.post(f"{url}/v1/chat/completions", data=unique) as response:
                    await response.read()
                    failed += response.status != 200
                    latencies.append(time.monotonic() - started)
            except (aiohttp.ClientError, TimeoutError):
                failed += 1

        start = time.monotonic() + 0.2
        await asyncio.gather(*(one(start + number / rate) for number in range(int(rate * seconds))))
    return latencies, failed


def quantile(sorted_values: list[float], part: float) -> float:
    """In milliseconds."""
    return round(1000 * sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))], 2)


def measure(url: str, rate: float, seconds: float, body: bytes) -> dict[str, float]:
    latencies, failed = asyncio.run(load(url, rate, seconds, body))
    latencies.sort()
    shown = {f"p{int(part * 100)}_ms": quantile(latencies, part) for part in (0.5, 0.9, 0.99)}
    return {**shown, "answered": len(latencies), "failed": failed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--rates", type=float, nargs="+", default=[35, 70, 140])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kilobytes", type=int, default=300)
    said = parser.parse_args()
    if said.serve:
        serve(said.serve)
        return
    body = os.urandom(said.kilobytes * 1024)
    result: dict[str, object] = {"body_kilobytes": said.kilobytes, "load_average": os.getloadavg()}
    with Redis() as redis, Upstream(port=free_port()) as upstream, WebUi(upstream, redis.port) as webui:
        webui.wait_ready()
        result["idle_memory_mib"] = webui.memory() // 1024**2
        for rate in said.rates:
            direct = measure(upstream.url, rate, said.seconds, body)
            before = cpu_seconds(webui)
            through = measure(webui.url, rate, said.seconds, body)
            spent = cpu_seconds(webui) - before
            cpu = round(1000 * spent / max(1, through["answered"]), 2)
            result[f"{rate:g} per second"] = {"direct": direct, "through": through, "cpu_ms_per_request": cpu}
        result["memory_after_mib"] = webui.memory() // 1024**2
    version = subprocess.run([sys.executable, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(json.dumps({"python": version, "cores": os.cpu_count(), **result}, indent=1))


if __name__ == "__main__":
    main()
