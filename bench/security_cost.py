"""What https and network policies cost at the lab's entry point, as ratios, all in one run on one machine.

    python -m bench.security_cost            the lab's stack, about 20 minutes; changes it by `up` and puts it back

Each variant is brought about by `up` with a changed copy of the stack's config: neither of the two, each alone, both (what is
checked in), and neither again, which shows how much the machine itself wandered. Writes bench/results/security-cost.md. Client,
nodes and stand-in engines share this machine's cores, so only the ratios mean something.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import report
from bench.cluster import RESULTS, entry, load
from tests.support.stack import Stack


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    https: bool
    policies: bool

    def of(self, stack: Stack) -> Stack:
        ingress = copy.deepcopy(stack.setting("ingress")) | ({} if self.https else {"tls": {"kind": "none"}})
        kubernetes = copy.deepcopy(stack.setting("kubernetes")) | {"networkPolicies": self.policies}
        return stack.with_setting("ingress", ingress).with_setting("kubernetes", kubernetes)


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds at a rate that all of it carries, and answers a second when more is asked than it can."""

    p50: float
    p99: float
    most: float
    errors: int

    def over(self, base: Measured) -> Measured:
        return Measured(self.p50 / base.p50, self.p99 / base.p99, self.most / base.most, self.errors)


VARIANTS = (
    Variant("neither", https=False, policies=False),
    Variant("https", https=True, policies=False),
    Variant("policies", https=False, policies=True),
    Variant("both", https=True, policies=True),
    Variant("neither again", https=False, policies=False),
)


def measure(stack: Stack, rate: float, much: float, seconds: float, folder: str) -> Measured:
    outputs = stack.outputs()
    url, ca_file, host = entry(outputs, folder)

    def asked(per_second: float, for_seconds: float) -> dict[str, Any]:
        return load(url, ca_file, host, outputs["model"], per_second, for_seconds, False)

    asked(rate, 5)  # connections, caches, and pods that have just started
    calm, full = asked(rate, seconds), asked(much, seconds)
    errors = sum(calm["errors"].values())
    return Measured(calm["latency"]["p50"], calm["latency"]["p99"], full["answered"] / seconds, errors)


def table(found: Sequence[tuple[Variant, Measured]]) -> list[str]:
    """Figures, and in brackets what they are of the first row's."""
    base = found[0][1]
    lines = ["| | P50, ms | P99, ms | answers/s at most | errors |", "|---|---|---|---|---|"]
    for variant, each in found:
        ratio = each.over(base)
        pairs = ((each.p50, ratio.p50), (each.p99, ratio.p99), (each.most, ratio.most))
        cells = " | ".join(f"{figure:.1f} ({part:.2f})" for figure, part in pairs)
        lines.append(f"| {variant.name} | {cells} | {each.errors} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=12, help="requests a second for latency (default: %(default)g)")
    parser.add_argument("--much", type=float, default=140, help="more than it carries (default: %(default)g)")
    parser.add_argument("--seconds", type=float, default=30, help="each (default: %(default)g)")
    args = parser.parse_args()
    found: list[tuple[Variant, Measured]] = []
    facts = report.machine()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack("lab", Path(folder))
        try:
            for variant in VARIANTS:
                changed = variant.of(stack)
                changed.up().ok()
                found.append((variant, measure(changed, args.rate, args.much, args.seconds, folder)))
                print(variant.name, found[-1][1], file=sys.stderr, flush=True)
        finally:
            stack.up().ok()
    lines = [
        "# What https and network policies cost, on the lab",
        "",
        *report.heading(facts, f"python -m bench.security_cost {' '.join(sys.argv[1:])}".strip()),
        f"Chats with 300 KB images; latency at {args.rate:g} a second; in brackets the ratio to `neither`. What `neither again` "
        "differs from 1.00 is the machine's own.",
        "",
        *table(found),
    ]
    (RESULTS / "security-cost.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
