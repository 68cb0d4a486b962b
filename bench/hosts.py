"""Side-by-side benchmark on simulated hosts, all tools in one run on one machine.

    python -m bench.hosts                                    5 and 100 hosts, all tools; about 40 minutes
    python -m bench.hosts --hosts 5 --runs 3                 a first look; about a minute
    python -m bench.hosts --hosts 100,1000 --rivals ours     this project alone

Writes bench/results/<name>.md (the table, also printed) and <name>.raw (every run, JSON). See bench/README.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import measure, operations, report
from bench.contenders import CONTENDERS, Contender, Phase
from bench.farm import Farm
from bench.report import Sample

RESULTS = Path(__file__).resolve().parent / "results"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", default="5,100", help="sizes, comma-separated (default: %(default)s)")
    parser.add_argument("--rivals", default=",".join(CONTENDERS), help="tools (default: %(default)s)")
    parser.add_argument("--phases", default="create,apply,preview", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="runs of a no-op (default: %(default)s)")
    parser.add_argument("--files", type=int, default=0, help="files beyond the four operations (default: 0)")
    parser.add_argument("--rtt", type=float, default=0, help="round trip to the hosts, milliseconds (default: 0)")
    parser.add_argument("--once-above", type=float, default=120, help="a slower tool is not repeated, seconds")
    parser.add_argument("--timeout", type=float, default=600, help="one run ends here, seconds (default: %(default)s)")
    parser.add_argument("--name", default="hosts", help="name of the result files (default: %(default)s)")
    args = parser.parse_args(arguments)
    for option, known in (("rivals", CONTENDERS), ("phases", ("create", "apply", "preview"))):
        chosen = getattr(args, option).split(",")
        if unknown := [item for item in chosen if item not in known]:
            parser.error(f"--{option}: {', '.join(unknown)} is not known; choose from {', '.join(known)}")
        setattr(args, option, chosen)
    args.hosts = [int(size) for size in args.hosts.split(",")]
    return args


class Bench:
    """One size: a farm, the tools on it, and what was measured."""

    def __init__(self, farm: Farm, args: argparse.Namespace, samples: list[Sample]) -> None:
        self.farm, self.args, self.samples = farm, args, samples
        self.contenders = [CONTENDERS[name](farm, farm.folder / name, args.files) for name in args.rivals]
        self.stopped: set[tuple[str, Phase]] = set()

    def once(self, contender: Contender, phase: Phase) -> None:
        """Measure one run, judge it by the tool's words and by the hosts' files, and keep it with the verdict."""
        run = contender.command(phase)
        before = self.farm.counters()
        usage = measure.run(
            run.argv, cwd=run.cwd, env=run.env, timeout=self.args.timeout, log=contender.folder / f"{phase}.log"
        )
        counted = self.farm.counters() - before
        complaint = contender.complaint(phase, usage)
        wrong = [finding for host in self.farm.hosts for finding in operations.findings(host, self.args.files)]
        if not complaint and wrong:
            complaint = f"{len(wrong)} findings on the hosts, first: {wrong[0]}"
        sample = Sample(
            hosts=len(self.farm.hosts),
            tool=contender.name,
            phase=phase,
            wall=usage.wall,
            cpu=usage.cpu,
            memory_mib=usage.memory_mib,
            largest_mib=usage.largest_mib,
            connections=counted.connections,
            commands=counted.commands,
            server_cpu=counted.cpu_seconds,
            timed_out=usage.timed_out,
            complaint=complaint,
        )
        self.samples.append(sample)
        print(sample.line(), file=sys.stderr, flush=True)
        if usage.wall > self.args.once_above or complaint:
            self.stopped.add((contender.name, phase))
        if complaint:
            print(f"    its output: {usage.output[-1500:]}", file=sys.stderr, flush=True)

    def wants(self, contender: Contender, phase: Phase) -> bool:
        return phase in self.args.phases and phase in contender.phases

    def create(self) -> None:
        """Every tool starts from bare hosts; the order puts the raw floor after one that made the files."""
        for contender in self.contenders:
            if "create" in contender.phases:
                self.farm.reset()
                contender.prepare()
                # Not asked for, it is still needed: a no-op needs something to leave as it is.
                self.once(contender, "create")

    def repeat(self) -> None:
        """The tools take turns, so that a slow minute of the machine hits all of them."""
        for _ in range(self.args.runs):
            for contender in self.contenders:
                for phase in ("apply", "preview"):
                    if self.wants(contender, phase) and (contender.name, phase) not in self.stopped:
                        self.once(contender, phase)

    def close(self) -> None:
        for contender in self.contenders:
            contender.close()


def main() -> None:
    args = parse()
    RESULTS.mkdir(exist_ok=True)
    samples: list[Sample] = []
    facts = report.machine() | {"rtt": f"{args.rtt:g} ms" if args.rtt else "loopback", "files": str(args.files)}
    described: dict[str, str] = {}
    for size in args.hosts:
        with Farm(size, args.rtt) as farm:
            bench = Bench(farm, args, samples)
            try:
                described |= {c.name: f"{c.version()}; {c.setting}" for c in bench.contenders}
                bench.create()
                bench.repeat()
            finally:
                bench.close()
        # Written after each size: a run that is ended keeps what it has.
        text = report.markdown(samples, facts, described, " ".join(sys.argv[1:]))
        (RESULTS / f"{args.name}.md").write_text(text)
        (RESULTS / f"{args.name}.raw").write_text(report.raw(samples, facts, described))
    print(text)
    if any(sample.complaint and not sample.timed_out for sample in samples):
        sys.exit("bench: some runs were wrong; the table marks them.")


if __name__ == "__main__":
    main()
