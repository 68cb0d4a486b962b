"""What the engine alone costs: the program of the host benchmark with a provider that answers at once.

    python -m bench.engine                              100 and 1000 resources; a few minutes
    python -m bench.engine --resources 100 --runs 3

The difference to `python -m bench.hosts --rivals ours` is what the host provider costs. CPU is split by process, each from
samples of it. Variants change one thing each, so the table also says what a setting is worth.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

from bench import measure, report
from bench.contenders import ROOT, Ours, Phase
from bench.farm import Farm, Host, address
from bench.hosts import RESULTS
from bench.measure import Usage

PARTS = ("pulumi", "pip list", "program", "provider")
CHECKPOINTED = 300  # above this a create with checkpoints takes minutes: the state is rewritten for every resource


@dataclass(frozen=True)
class Unbuilt:
    """What a program needs to know of a farm, with no farm behind it."""

    hosts: list[Host]
    port: int
    private_key: Path
    known_hosts: Path


class EngineOnly(Ours):
    """The same program and inputs, another plugin."""

    def prepare(self) -> None:
        super().prepare()
        settings = self.program / "Pulumi.yaml"
        settings.write_text(settings.read_text().replace(str(ROOT / "host/plugin"), str(ROOT / "bench/instant")))


@dataclass(frozen=True)
class Variant:
    name: str
    phase: Phase
    environment: Mapping[str, str]
    automatic_log: bool = True


VARIANTS = (
    Variant("create, no checkpoints", "create", {"PULUMI_SKIP_CHECKPOINTS": "true", "PULUMI_EXPERIMENTAL": "true"}),
    Variant("create, checkpoints", "create", {"PULUMI_SKIP_CHECKPOINTS": "false"}),
    Variant("no-op up", "apply", {}),
    Variant("no-op up, diffs one by one", "apply", {"PULUMI_PARALLEL_DIFF": "false"}),
    Variant("no-op up, GOGC=400", "apply", {"GOGC": "400"}),
    Variant("no-op up, no automatic log", "apply", {}, automatic_log=False),
    Variant("no-op preview", "preview", {}),
)


def once(engine: EngineOnly, variant: Variant, timeout: float) -> Usage:
    if variant.phase == "create":
        engine.prepare()
    log = engine.folder / "home/logs"
    shutil.rmtree(log, ignore_errors=True) if log.is_dir() else log.unlink(missing_ok=True)
    if not variant.automatic_log:
        # The engine has no switch for it; a file where it wants a folder makes it go without.
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    run = engine.command(variant.phase)
    environment = {**run.env, **variant.environment}
    usage = measure.run(
        run.argv, cwd=run.cwd, env=environment, timeout=timeout, log=engine.folder / "run.log", parts=True
    )
    if complaint := engine.complaint(variant.phase, usage):
        raise SystemExit(f"bench: {variant.name}: {complaint}")
    return usage


def rows(count: int, runs: int, timeout: float) -> list[str]:
    folder = Path(tempfile.mkdtemp(prefix="bench-engine-"))
    try:
        hosts = [Host(f"host-{index + 1:04d}", address(index), folder) for index in range(count)]
        farm = Unbuilt(hosts, 22, folder / "id_ed25519", folder / "known_hosts")
        engine = EngineOnly(cast(Farm, farm), folder / "engine")
        lines = []
        for variant in VARIANTS:
            if variant.name == "create, checkpoints" and count > CHECKPOINTED:
                continue
            usages = [once(engine, variant, timeout) for _ in range(1 if variant.phase == "create" else runs)]
            state = engine.folder / "state/.pulumi/stacks/bench/bench.json"
            size = state.stat().st_size / 1024 / count
            parts = [f"{median(u.parts.get(part, 0.0) for u in usages):.2f}" for part in PARTS]
            line = (
                f"| {count} | {variant.name} | {report.spread(u.wall for u in usages)} "
                f"| {report.spread(u.cpu for u in usages)} | {' | '.join(parts)} "
                f"| {median(u.memory_mib for u in usages):.0f} | {size:.1f} |"
            )
            print(line, file=sys.stderr, flush=True)
            lines.append(line)
        return lines
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", default="1,100,1000", help="counts, comma-separated (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of a no-op (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="one run ends here, seconds (default: %(default)s)")
    parser.add_argument("--name", default="engine", help="name of the result file (default: %(default)s)")
    args = parser.parse_args()
    facts = report.machine()
    lines = [
        "# The engine alone",
        "",
        *report.heading(facts, f"python -m bench.engine {' '.join(sys.argv[1:])}".strip()),
        "One resource a host with the inputs of the host benchmark; the provider answers at once. Median (min-max).",
        "CPU by process is sampled, so it adds up to a little less than the whole.",
        "",
        f"| resources | run | wall, s | CPU, s | {' | '.join(f'of it {part}' for part in PARTS)} | memory, MiB "
        "| state, KiB a resource |",
        "|" + "---|" * (6 + len(PARTS)),
    ]
    RESULTS.mkdir(exist_ok=True)
    for count in map(int, args.resources.split(",")):
        lines += rows(count, args.runs, args.timeout)
        (RESULTS / f"{args.name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
