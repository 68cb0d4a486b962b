"""What Checkov finds, against what it may find: `python -m tests.audit.checkov REPORT`; exit code 1 names the rest."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

EXCEPTIONS = Path(__file__).with_name("exceptions.yaml")


def judge(report: dict[str, Any], exceptions: Iterable[dict[str, str]]) -> list[str]:
    """A line for each finding that no exception has, and for each exception that has no finding."""
    found = {(each["check_id"], each["resource"], each["check_name"]) for each in report["results"]["failed_checks"]}
    allowed = [(each["check"], re.compile(each["resources"])) for each in exceptions]
    broken = [
        f"{check} {resource}: {name}"
        for check, resource, name in sorted(found)
        if not any(check == known and resources.fullmatch(resource) for known, resources in allowed)
    ]
    stale = [
        f"{EXCEPTIONS.name}: {check} {resources.pattern}: nothing needs it any longer"
        for check, resources in allowed
        if not any(check == known and resources.fullmatch(resource) for known, resource, _ in found)
    ]
    return broken + stale


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text())
    if report["summary"]["parsing_errors"] or not report["summary"]["passed"]:
        sys.exit(f"Checkov did not read the objects: {report['summary']}")
    said = judge(report, yaml.safe_load(EXCEPTIONS.read_text()))
    print("\n".join(said) or f"{report['summary']['passed']} checks passed; the rest are exceptions with reasons")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
