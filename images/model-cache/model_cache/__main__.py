"""`python -m model_cache agent ...` keeps a model on this node; `python -m model_cache hold ...` waits for it in a pod."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from model_cache.agent import AgentSettings, run
from model_cache.filler import Policy
from model_cache.hold import hold
from model_cache.logs import log_json_lines


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="model-cache", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True)
    agent = verbs.add_parser("agent", allow_abbrev=False)
    pod = verbs.add_parser("hold", allow_abbrev=False)
    for verb, port in ((agent, 7870), (pod, 7871)):
        verb.add_argument("--model", required=True, help="Qwen/Qwen3-VL-4B-Instruct")
        verb.add_argument("--revision", required=True)
        verb.add_argument("--manifest-sha256", default="", help="SHA-256 of the revision's SHA256SUMS")
        verb.add_argument("--cache", type=Path, default=Path("/cache"))
        verb.add_argument("--host", default="0.0.0.0")  # noqa: S104 - the kubelet's probes come from outside
        verb.add_argument("--port", type=int, default=port)
    agent.add_argument("--source", required=True, help="nfs://, s3+https://, hub+https:// or folder://")
    agent.add_argument("--credential-file", type=Path, help="hub: a token; S3: ACCESS_KEY_ID:SECRET_ACCESS_KEY")
    agent.add_argument("--node", required=True)
    agent.add_argument("--peers", default="", help="name:port of all agents, or their addresses")
    agent.add_argument("--deadline-seconds", type=float, default=30.0, help="wait for the next byte")
    policy = Policy()
    for flag, default in (
        ("--reserve-percent", policy.reserve_percent),
        ("--grace-seconds", policy.grace_seconds),
        ("--look-seconds", policy.look_seconds),
        ("--scrub-seconds", policy.scrub_seconds),
        ("--settle-seconds", policy.settle_seconds),
        ("--settle-limit-seconds", policy.settle_limit_seconds),
    ):
        agent.add_argument(flag, type=float, default=default)
    return top


def main() -> int:
    said = parser().parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log_json_lines()
    if said.verb == "hold":
        hold(said.cache, said.model, said.revision, said.manifest_sha256, said.host, said.port, stop)
        return 0
    policy = Policy(
        manifest_sha256=said.manifest_sha256,
        reserve_percent=said.reserve_percent,
        grace_seconds=said.grace_seconds,
        look_seconds=said.look_seconds,
        scrub_seconds=said.scrub_seconds,
        settle_seconds=said.settle_seconds,
        settle_limit_seconds=said.settle_limit_seconds,
    )
    settings = AgentSettings(
        model=said.model,
        revision=said.revision,
        source=said.source,
        cache=said.cache,
        node=said.node,
        peers=said.peers,
        host=said.host,
        port=said.port,
        credential=said.credential_file,
        deadline_seconds=said.deadline_seconds,
        policy=policy,
    )
    try:
        run(settings, stop)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
