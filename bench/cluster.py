"""Image chats to the running service, through its load balancer's address: what users would see.

    python -m bench.cluster            the lab's stack; STACK names another

Writes bench/results/cluster-load.md. On the lab, client, nodes and stand-in engines share this machine's cores, so this
shows that the whole way holds, not how fast it is on machines of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import report
from tools.ask import api_key, outputs

RESULTS = Path(__file__).resolve().parent / "results"
TOKENS = 8
PIXELS = "320x240"
"""Few tokens and pixels: the stand-in is as slow as a card, and two of them would be the limit otherwise."""


def load(url: str, ca_file: str, host: str, model: str, rate: float, seconds: float, stream: bool) -> dict[str, Any]:
    said = ["--host", host, "--model", model, "--rate", f"{rate:g}", "--seconds", f"{seconds:g}"]
    said += ["--max-tokens", str(TOKENS), "--pixels", PIXELS, "--json", *(["--stream"] if stream else [])]
    said += ["--ca", ca_file] if ca_file else []
    argv = [sys.executable, "-m", "bench.load", url, *said]
    environment = os.environ | {"LOAD_API_KEY": api_key(os.environ.get("STACK", "lab")) or ""}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=seconds + 120)
    if not done.stdout:
        raise SystemExit(f"bench: the generator failed (exit {done.returncode}): {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def entry(stack: Mapping[str, Any], folder: str) -> tuple[str, str, str]:
    """URL, file of the authority and host name of the service with these outputs. No file: the authorities of this system."""
    scheme, _, host = str(stack["url"]).rstrip("/").partition("://")
    ca_file = ""
    if stack.get("ingressCa"):
        ca_file = f"{folder}/ca.pem"
        Path(ca_file).write_text(stack["ingressCa"])
    return f"{scheme}://{stack['ingressAddress']}", ca_file, host


def row(rate: float, stream: bool, busy: float, found: dict[str, Any]) -> str:
    errors = ", ".join(f"{count} {kind}" for kind, count in found["errors"].items()) or "none"
    cells = [f"{found[what].get(quantile, 0):.0f}" for what in ("latency", "first_byte") for quantile in ("p50", "p99")]
    lateness = f"{found['lateness'].get('p99', 0):.1f}{' **late**' if found['invalid'] else ''}"
    kind = "stream" if stream else "plain"
    counts = f"{found['sent']} | {found['answered']} | {errors}"
    return f"| {rate:g} | {kind} | {counts} | {' | '.join(cells)} | {lateness} | {busy:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="12,35,70", help="requests per second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="each (default: %(default)g)")
    args = parser.parse_args()
    stack = outputs()
    facts = report.machine()
    lines = [
        "# Load on the lab's cluster, through the load balancer's address",
        "",
        *report.heading(facts, f"python -m bench.cluster {' '.join(sys.argv[1:])}".strip()),
        "**The client, six nodes, Traefik, web UIs and the stand-in engines all share these cores**; nothing here says how fast "
        "the service is on machines of its own. "
        f"Unique 300 KB images of {PIXELS}, {TOKENS} tokens of answer, Poisson arrivals, {args.seconds:g} s at each rate, open "
        "loop; latency, in milliseconds, counts from the moment a request was due and holds the stand-in's own delays.",
        "",
        "| requests/s | | sent | answered | errors | P50 | P99 | first byte P50 | P99 | late by, P99 | load before |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        url, ca_file, host = entry(stack, folder)
        for rate in map(float, args.rates.split(",")):
            for stream in (False, True):
                busy = os.getloadavg()[0]
                found = load(url, ca_file, host, stack["model"], rate, args.seconds, stream)
                lines.append(row(rate, stream, busy, found))
                print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cluster-load.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
