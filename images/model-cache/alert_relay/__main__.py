"""`python -m alert_relay --port 9095 --secrets DIR --receiver NAME=dingtalk ...` stands between Alertmanager and robots."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from alert_relay.formats import FORMATS
from alert_relay.robots import robots
from alert_relay.server import Relay


def receiver(text: str) -> tuple[str, str]:
    name, _, kind = text.partition("=")
    if not name or kind not in FORMATS:
        raise argparse.ArgumentTypeError(f"NAME=KIND with one of the kinds {', '.join(FORMATS)}")
    return name, kind


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="alert-relay", description=__doc__, allow_abbrev=False)
    top.add_argument("--port", type=int, required=True)
    top.add_argument("--secrets", type=Path, required=True, help="folder with url-NAME and sign-NAME")
    top.add_argument("--receiver", type=receiver, action="append", required=True, metavar="NAME=KIND")
    return top


def main() -> int:
    said = parser().parse_args()
    found = robots(dict(said.receiver), said.secrets)
    without = sorted(name for name, robot in found.items() if not robot.url)
    if without:
        print(f"no url-NAME for {', '.join(without)} in {said.secrets}", file=sys.stderr)
        return 2
    server = Relay(said.port, found)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"handing on to {', '.join(sorted(found))} at port {said.port}", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
