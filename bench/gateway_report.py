"""Figures of the gateways side by side; a lost comparison is published like a won one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.report import heading, spread

DIRECT = "direct"
NAMES = {
    "direct": "engine, directly",
    "webui": "web UI (`/v1`)",
    "traefik": "Traefik + web UI",
    "litellm": "LiteLLM proxy 1.106.12",
    "open-webui": "Open WebUI 0.12.4",
}
AIM_RATE = 35.0
AIMS = (("P50", "p50", 3.0), ("P99", "p99", 15.0))
AIM_HIGHEST = 260.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One engine behind all paths."""

    name: str
    engine: str
    stream: bool
    rates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One run of the generator. Milliseconds; `cpu` is that of the gateway's processes per answered request."""

    stage: str
    rate: float
    path: str
    run: int
    sent: int
    answered: int
    sent_rate: float
    answered_rate: float
    errors: dict[str, int]
    latency: dict[str, float]
    first_byte: dict[str, float]
    lateness: dict[str, float]
    invalid: list[str]
    cpu: float
    memory_mib: float
    load_average: float

    @classmethod
    def of(
        cls,
        stage: str,
        rate: float,
        path: str,
        run: int,
        summary: dict[str, Any],
        cpu: float,
        memory: float,
        busy: float,
    ) -> Sample:
        same = (
            "sent",
            "answered",
            "sent_rate",
            "answered_rate",
            "errors",
            "latency",
            "first_byte",
            "lateness",
            "invalid",
        )
        said = {name: summary[name] for name in same}
        each = 1000 * cpu / max(1, summary["answered"])
        return cls(stage=stage, rate=rate, path=path, run=run, **said, cpu=each, memory_mib=memory, load_average=busy)

    def line(self) -> str:
        p50, p99 = (self.latency.get(name, float("nan")) for name in ("p50", "p99"))
        said = f"errors {self.errors}" if self.errors else "; ".join(self.invalid)
        return (
            f"{self.stage:9s} {self.rate:4g}/s {self.path:10s} p50 {p50:8.2f} p99 {p99:8.2f} ms  late p99 "
            f"{self.lateness.get('p99', 0):5.1f}  cpu {self.cpu:6.2f} ms  {self.memory_mib:5.0f} MiB  "
            f"load {self.load_average:4.1f}  {said}"
        )


Of = Callable[[Sample], float]


def added(mine: Sequence[Sample], direct: Sequence[Sample], of: Of) -> list[float]:
    """Differences to the direct path's run of the same turn."""
    floor = {sample.run: of(sample) for sample in direct if not sample.errors}
    return [of(sample) - floor[sample.run] for sample in mine if sample.run in floor]


def signed(values: list[float]) -> str:
    return spread(values) if values else "-"


def row(path: str, mine: list[Sample], direct: list[Sample], stream: bool) -> str:
    right = [sample for sample in mine if not sample.errors]
    kept = [sample for sample in right if not sample.invalid]
    errors = ", ".join(f"{count} {kind}" for sample in mine for kind, count in sample.errors.items())
    count = f"{len(kept)} of {len(mine)}"
    if not right:
        return f"| {NAMES[path]} |" + " - |" * (8 if stream else 6) + f" {count} | {errors} |"
    shown = kept or right
    cells = []
    for quantile in ("p50", "p99"):
        value: Of = lambda sample, q=quantile: sample.latency[q]  # type: ignore[misc]  # noqa: E731
        cells += [spread(map(value, shown)), "" if path == DIRECT else signed(added(shown, direct, value))]
    if stream:
        first: Of = lambda sample: sample.first_byte["p50"]  # noqa: E731
        cells += [spread(map(first, shown)), "" if path == DIRECT else signed(added(shown, direct, first))]
    cells += ["", ""] if path == DIRECT else [spread(s.cpu for s in shown), f"{max(s.memory_mib for s in shown):.0f}"]
    mark = "" if kept else " (late)"
    return f"| {NAMES[path]}{mark} | " + " | ".join(cells) + f" | {count} | {errors or 'none'} |"


def table(samples: list[Sample], stage: Stage) -> list[str]:
    first = " first byte P50, ms | added |" if stage.stream else ""
    head = f"| path | P50, ms | added | P99, ms | added |{first} CPU, ms a request | memory, MiB | runs kept | errors |"
    lines = []
    for rate in sorted({sample.rate for sample in samples}):
        lines += ["", f"**{rate:g} requests/s**", "", head, "|---" * head.count(" |") + "|"]
        at = [sample for sample in samples if sample.rate == rate]
        direct = [sample for sample in at if sample.path == DIRECT]
        for path in NAMES:
            if mine := [sample for sample in at if sample.path == path]:
                lines.append(row(path, mine, direct, stage.stream))
            elif any(sample.path == path for sample in samples):
                lines.append(
                    f"| {NAMES[path]} | not asked: it failed or took over 5 s below |" + " |" * (head.count(" |") - 2)
                )
    return lines


def highest(samples: list[Sample], path: str) -> float:
    """The highest rate at which no run had an error and answers kept up with questions; 0 if there is none."""
    rates = sorted({sample.rate for sample in samples if sample.path == path})
    best = 0.0
    for rate in rates:
        runs = [sample for sample in samples if (sample.path, sample.rate) == (path, rate)]
        if any(sample.errors or sample.answered_rate < 0.9 * sample.sent_rate for sample in runs):
            return best
        best = rate
    return best


def goals(samples: list[Sample]) -> list[str]:
    """The product's own path against its aims; only runs in which the generator kept its schedule count."""
    lines = ["", "## Aims", "", "| aim | wanted | measured | |", "|---|---|---|---|"]
    instant = [sample for sample in samples if sample.stage == "instant"]
    at = [sample for sample in instant if sample.rate == AIM_RATE and not sample.errors and not sample.invalid]
    for path in ("webui", "traefik"):
        for name, quantile, most in AIMS:
            value: Of = lambda sample, q=quantile: sample.latency[q]  # type: ignore[misc]  # noqa: E731
            mine = [sample for sample in at if sample.path == path]
            found = added(mine, [sample for sample in at if sample.path == DIRECT], value)
            what = f"added {name}, {NAMES[path]}, {AIM_RATE:g}/s, ms at most"
            if found:
                verdict = (
                    "met" if max(found) <= most else "**missed**" if min(found) > most else "open: runs on both sides"
                )
                lines.append(f"| {what} | {most:g} | {spread(found)} | {verdict} |")
            else:
                lines.append(f"| {what} | {most:g} | no run in which the generator was on time | not judged |")
    for path in ("webui", "traefik"):
        if any(sample.path == path for sample in instant):
            best = highest(instant, path)
            verdict = "met" if best >= AIM_HIGHEST else "**missed**"
            lines.append(f"| requests/s without an error, {NAMES[path]} | {AIM_HIGHEST:g} | {best:g} | {verdict} |")
    return lines


def markdown(
    samples: list[Sample], stages: Sequence[Stage], facts: dict[str, str], absent: dict[str, str], arguments: str
) -> str:
    busy = [sample.load_average for sample in samples] or [0.0]
    lines = [
        "# Gateways, side by side",
        "",
        *heading(facts, f"python -m bench.gateway {arguments}".strip()),
        f"Unique 300 KB images (400 KB bodies), Poisson arrivals, open loop: latency counts from the moment a request was due. "
        f"{facts['runs']} runs of {facts['seconds']} s, the paths taking turns; median (min-max). *Added* is the difference "
        "to the direct path in the same turn. Client, gateway and engine share the cores; each gateway is one process, and is "
        "stopped while another has its turn. A run in which the generator was late (1 of 100 requests by more than 10 ms) is "
        "not kept; a row *(late)* has no other. CPU a request is firm on a busy machine too. "
        f"Load average while running: {min(busy):.1f} to {max(busy):.1f}.",
        *(f"\n{NAMES[name]} is missing: {why}" for name, why in absent.items()),
    ]
    for stage in stages:
        mine = [sample for sample in samples if sample.stage == stage.name]
        if mine:
            lines += ["", f"## Behind it: {stage.engine}", *table(mine, stage)]
            paths = [path for path in NAMES if any(sample.path == path for sample in mine)]
            best = ", ".join(f"{NAMES[path]} {highest(mine, path):g}" for path in paths)
            lines += ["", f"Highest rate tried that was answered in full, without an error, at that rate: {best}."]
    return "\n".join([*lines, *goals(samples)]) + "\n"


def raw(samples: list[Sample], facts: dict[str, str]) -> str:
    return json.dumps({"machine": facts, "samples": [asdict(sample) for sample in samples]}, indent=1)
