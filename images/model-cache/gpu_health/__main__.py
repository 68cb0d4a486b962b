"""`python -m gpu_health --node gpu-1=1 --node gpu-2=1`: taints a GPU node that has fewer GPUs to give than it should."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from cluster_api import CREDENTIALS, in_cluster

from gpu_health.api import Api
from gpu_health.controller import Controller, say


def node(text: str) -> tuple[str, int]:
    name, _, gpus = text.rpartition("=")
    if not name:
        raise ValueError(text)
    return name, int(gpus)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="gpu-health", description=__doc__, allow_abbrev=False)
    top.add_argument("--node", type=node, action="append", required=True, metavar="NAME=GPUS", help="a node to look at")
    top.add_argument("--look-seconds", type=float, default=15.0, help="pause between two looks")
    top.add_argument("--patience-seconds", type=float, default=60.0, help="how long a node is short, or whole, first")
    top.add_argument("--api", default=in_cluster(), help="https://HOST:PORT")
    top.add_argument(
        "--credentials",
        type=Path,
        default=CREDENTIALS,
        help="folder with `token` and `ca.crt`",
    )
    return top


def main() -> int:
    said = parser().parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    wanted = dict(said.node)
    say("info", "looking after the GPUs of nodes", nodes=wanted)
    Controller(Api(said.api, said.credentials), wanted, said.patience_seconds).run(said.look_seconds, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
