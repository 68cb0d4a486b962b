"""Turn samples into a Markdown table with ratios; a lost comparison is published like a won one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

OURS = "this project"
FLOOR = "raw paramiko"
PHASES = {
    "create": "Create: bare hosts to the wanted state",
    "apply": "No-op run: every host is looked at, nothing changes",
    "preview": "No-op preview: the same, announced only",
}


@dataclass(frozen=True)
class Sample:
    """One measured run. Times in seconds; `cpu` is the client's side only, `server_cpu` the hosts' side."""

    hosts: int
    tool: str
    phase: str
    wall: float
    cpu: float
    memory_mib: float
    largest_mib: float
    connections: int
    commands: int
    server_cpu: float
    timed_out: bool
    complaint: str

    def line(self) -> str:
        verdict = f"  WRONG: {self.complaint}" if self.complaint else ""
        return (
            f"{self.hosts:5d} hosts  {self.tool:14s} {self.phase:8s} wall {self.wall:7.2f} s  client cpu {self.cpu:6.2f} s  "
            f"memory {self.memory_mib:5.0f} MiB  {self.connections} connections  {self.commands} commands  "
            f"server cpu {self.server_cpu:6.2f} s{verdict}"
        )


def machine() -> dict[str, str]:
    """What the figures depend on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    server = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr.split(",")[0].strip()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": str(os.cpu_count()),
        "cpu": model,
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ssh": server,
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def spread(values: Iterable[float]) -> str:
    """Median, with min and max where there is more than one."""
    ordered = sorted(values)
    digits = 1 if ordered[-1] >= 10 else 2
    middle = f"{median(ordered):.{digits}f}"
    return middle if len(ordered) == 1 else f"{middle} ({ordered[0]:.{digits}f}-{ordered[-1]:.{digits}f})"


def ratio(theirs: list[Sample], ours: list[Sample], of: Callable[[Sample], float]) -> str:
    """How many times ours costs; `>` where theirs was stopped at the limit."""
    if not ours or not theirs:
        return "-"
    sign = "> " if any(sample.timed_out for sample in theirs) else ""
    return f"{sign}{median(map(of, theirs)) / median(map(of, ours)):.1f}x"


def table(samples: list[Sample]) -> list[str]:
    """Rows of one size and phase: ours first, then the rivals, the floor last."""
    lines = [
        "| tool | wall, s | ratio | client CPU, s | ratio | memory, MiB | connections | commands | hosts' CPU, s | runs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    tools = sorted({s.tool for s in samples}, key=lambda tool: (tool != OURS, tool == FLOOR, tool))
    right = [s for s in samples if not s.complaint or s.timed_out]
    ours = [s for s in right if s.tool == OURS]
    for tool in tools:
        mine = [s for s in right if s.tool == tool]
        if not mine:
            wrong = next(s.complaint for s in samples if s.tool == tool).replace("|", "/").replace("\n", " ")
            lines.append(f"| {tool} | failed: {wrong[:120]} |" + " |" * 8)
            continue
        wall = spread(s.wall for s in mine)
        lines.append(
            f"| {tool} | {'stopped at ' if mine[0].timed_out else ''}{wall} | {ratio(mine, ours, lambda s: s.wall)} "
            f"| {spread(s.cpu for s in mine)} | {ratio(mine, ours, lambda s: s.cpu)} "
            f"| {median(s.memory_mib for s in mine):.0f} | {median(s.connections for s in mine):.0f} "
            f"| {median(s.commands for s in mine):.0f} | {spread(s.server_cpu for s in mine)} | {len(mine)} |"
        )
    return lines


def one(samples: list[Sample], hosts: int, tool: str, phase: str, of: Callable[[Sample], float]) -> float | None:
    values = [of(s) for s in samples if (s.hosts, s.tool, s.phase) == (hosts, tool, phase) and not s.complaint]
    return median(values) if values else None


def goals(samples: list[Sample]) -> list[str]:
    """The project's aims beside what was measured, hit or missed."""
    rows: list[tuple[str, float, float, bool]] = []
    for phase in ("apply", "preview"):
        if (cpu := one(samples, 100, OURS, phase, lambda s: s.cpu)) is not None:
            rows.append((f"client CPU of a no-op {phase}, 100 hosts, seconds at most", 1.5, cpu, cpu <= 1.5))
        for rival, wanted in (("Ansible", 30.0), ("pyinfra", 8.0)):
            theirs, mine = (one(samples, 100, tool, phase, lambda s: s.wall) for tool in (rival, OURS))
            if theirs and mine:
                found = theirs / mine
                rows.append((f"times faster than {rival}, no-op {phase}, 100 hosts", wanted, found, found >= wanted))
    for phase in PHASES:
        for what, of in (("wall", lambda s: s.wall), ("client CPU", lambda s: s.cpu)):
            large, small = (one(samples, size, OURS, phase, of) for size in (1000, 100))
            if large and small:
                name = f"cost of 1000 hosts over 100 ({phase}, {what}), times at most"
                rows.append((name, 10.0, large / small, large / small <= 10))
    if not rows:
        return []
    lines = ["", "## Aims", "", "| aim | wanted | measured | |", "|---|---|---|---|"]
    return lines + [
        f"| {name} | {want:g} | {got:.2f} | {'met' if met else '**missed**'} |" for name, want, got, met in rows
    ]


def heading(facts: dict[str, str], command: str) -> list[str]:
    return [
        f"Machine: {facts['cores']} cores ({facts['cpu']}), {facts['memory']}, Linux {facts['kernel']}, "
        f"Python {facts['python']}, {facts['ssh']}; load before the run {facts['load before']}; {facts['date']}.",
        f"Command: `{command}`.",
    ]


def markdown(samples: list[Sample], facts: dict[str, str], tools: dict[str, str], arguments: str) -> str:
    lines = [
        "# Simulated hosts, side by side",
        "",
        *heading(facts, f"python -m bench.hosts {arguments}".strip()),
        f"Operations: the four, and {facts['files']} files more. Round trip to the hosts: {facts['rtt']}.",
        "Client and hosts share these cores, so wall time holds both; client CPU is the tool's own cost, without the hosts.",
        "Median (min-max) of the runs; ratios are over this project's figure, above 1 = this project costs less.",
        "",
        *[f"- {name}: {text}" for name, text in tools.items()],
    ]  # fmt: skip
    for hosts in sorted({s.hosts for s in samples}):
        for phase, title in PHASES.items():
            chosen = [s for s in samples if (s.hosts, s.phase) == (hosts, phase)]
            if chosen:
                lines += ["", f"## {hosts} hosts. {title}", "", *table(chosen)]
    return "\n".join([*lines, *goals(samples)]) + "\n"


def raw(samples: list[Sample], facts: dict[str, str], tools: dict[str, str]) -> str:
    return json.dumps({"machine": facts, "tools": tools, "samples": [asdict(s) for s in samples]}, indent=1)
