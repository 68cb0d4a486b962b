"""Prometheus' own promtool, as the lab builds it, and rules that are tried on series written down here."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.golden import GOLDEN

ROOT = GOLDEN.parent.parent


@cache
def promtool() -> Path:
    found = subprocess.run([ROOT / "tools/build", "prometheus"], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip().partition("\t")[2]) / "promtool"


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool(), *arguments], cwd=cwd, capture_output=True, text=True)


def try_rules(
    folder: Path, rules: Mapping[str, str], series: Mapping[str, str], expected: list[dict[str, Any]], every: int
) -> None:
    """Fails unless the rules make the `expected` values (promtool's `promql_expr_test`) of series, read every so many seconds."""
    _try(folder, rules, series, {"promql_expr_test": expected}, every)


def try_texts(folder: Path, rules: str, series: Mapping[str, str], expected: dict[str, Any], every: int) -> None:
    """Fails unless an alert fires with exactly the `expected` labels and texts (promtool's `alert_rule_test`)."""
    _try(folder, {"rules.yml": rules}, series, {"alert_rule_test": [expected]}, every)


def _try(
    folder: Path, rules: Mapping[str, str], series: Mapping[str, str], tests: Mapping[str, Any], every: int
) -> None:
    for name, text in rules.items():
        (folder / name).write_text(text)
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    document = {
        "rule_files": list(rules),
        "evaluation_interval": f"{every}s",
        "tests": [{"interval": f"{every}s", "input_series": inputs, **tests}],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(document, width=1000))
    done = run("test", "rules", "test.yml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
