"""Image-text chats at a fixed rate, open loop, to any OpenAI entry point.

    python -m bench.load http://10.77.0.200 --host qwen3.example.com --rate 35 --seconds 20

Arrivals are a seeded Poisson process (or evenly spaced), independent of the answers; latency counts from the moment a
request was due. Each image is unique. Stops by itself. Exit status 1: a request failed; 3: the generator could not keep
its schedule, so the figures are not to be used.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from pathlib import Path

import uvloop

from bench.load.generator import PATH, Limits, Target, go_first, send
from bench.load.questions import NUMBERS, Questions, Shape
from bench.load.schedule import MAX_REQUESTS, OutOfBounds, due_times
from bench.load.summary import Summary

MODEL = "Qwen/Qwen3-VL-4B-Instruct"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    say = parser.add_argument
    say("url", help="entry point, http://ADDRESS[:PORT] or https://")
    say("--path", default=PATH, help="default: %(default)s")
    say("--host", default="", help="Host header, where it is not the address")
    say("--ca", default="", help="file of the certificate authority, for https")
    say("--key-file", type=Path, help="file with the API key; or the environment variable LOAD_API_KEY")
    say("--rate", type=float, default=12, help="requests per second (default: %(default)g)")
    say("--seconds", type=float, default=20, help="how long requests are due (default: %(default)g)")
    say("--limit", type=int, default=MAX_REQUESTS, help="at most this many requests (default: %(default)s)")
    say("--arrivals", choices=["poisson", "constant"], default="poisson", help="default: %(default)s")
    say("--seed", type=int, default=1, help="of the arrivals (default: %(default)s)")
    say("--stream", action="store_true", help="ask for a stream of events")
    say("--model", default=MODEL, help="default: %(default)s")
    say("--max-tokens", type=int, default=64, help="longest answer (default: %(default)s)")
    say("--exact", action="store_true", help="answers of exactly --max-tokens (vLLM's ignore_eos)")
    say("--kilobytes", type=int, default=300, help="size of each image file (default: %(default)s)")
    say("--pixels", default="1280x720", help="of each image (default: %(default)s)")
    say(
        "--echo",
        action="store_true",
        help="the engine is the stand-in: each answer must be the one to its own question",
    )
    say("--timeout", type=float, default=Limits().timeout, help="seconds for one request (default: %(default)g)")
    say("--in-flight", type=int, default=Limits().in_flight, help="not more at the same time (default: %(default)s)")
    say(
        "--late-ms",
        type=float,
        default=Limits().late_ms,
        help="1 of 100 may leave later than this (default: %(default)g)",
    )
    say("--json", action="store_true", help="one JSON object in place of lines")
    return parser.parse_args(arguments)


def run(said: argparse.Namespace) -> Summary:
    width, _, height = said.pixels.partition("x")
    shape = Shape(
        model=said.model,
        stream=said.stream,
        max_tokens=said.max_tokens,
        kilobytes=said.kilobytes,
        width=int(width),
        height=int(height),
        exact=said.exact,
    )
    due = due_times(said.arrivals, said.rate, said.seconds, said.limit, said.seed)
    key = said.key_file.read_text().strip() if said.key_file else os.environ.get("LOAD_API_KEY", "")
    target = Target(url=said.url.rstrip("/"), path=said.path, host=said.host, key=key, ca_file=said.ca)
    limits = Limits(timeout=said.timeout, in_flight=said.in_flight, late_ms=said.late_ms)
    questions = Questions(shape, secrets.randbelow(NUMBERS))
    go_first()
    sending = send(
        target,
        questions,
        due,
        rate=said.rate,
        seconds=said.seconds,
        stream=said.stream,
        echo=said.echo,
        limits=limits,
    )
    return uvloop.run(sending)


def main() -> int:
    said = parse()
    try:
        summary = run(said)
    except (OutOfBounds, OSError, ValueError) as error:
        print(f"bench.load: {error}", file=sys.stderr)
        return 2
    print(json.dumps(summary.shown(), indent=1) if said.json else "\n".join(summary.lines()))
    return 3 if summary.invalid else 1 if summary.errors else 0


if __name__ == "__main__":
    sys.exit(main())
