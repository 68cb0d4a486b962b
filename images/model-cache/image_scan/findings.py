"""A report of Trivy, made short. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
# All results have to fit into a ConfigMap of 1 MiB: thirty images of so many lines are a fifth of it. Counts are of all.
MOST_LISTED = 40


def summary(report: Mapping[str, Any], scanned: float) -> dict[str, Any]:
    """What is kept of a report (Trivy's JSON, SchemaVersion 2) of the second `scanned`. Raises ValueError for something else.

    `counts` has two numbers for each severity: with a fixed version, without one. `fixable` lists the worst.
    """
    if report.get("SchemaVersion") != 2 or "ArtifactName" not in report:
        raise ValueError("not a report of Trivy, SchemaVersion 2")
    found = unique(report)
    counts = Counter((severity(each), bool(each.get("FixedVersion"))) for each in found)
    worst = sorted(
        (each for each in found if each.get("FixedVersion")),
        key=lambda each: (SEVERITIES.index(severity(each)), each["VulnerabilityID"], each["PkgName"]),
    )
    return {
        "reference": report["ArtifactName"],
        "digests": (report.get("Metadata") or {}).get("RepoDigests") or [],
        "scanned": int(scanned),
        "counts": {level: [counts[level, True], counts[level, False]] for level in SEVERITIES},
        "fixable": [line(each) for each in worst[:MOST_LISTED]],
    }


def unique(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Each vulnerability of each version of a package once: one package may be found in several places."""
    return list(
        {
            (each["VulnerabilityID"], each["PkgName"], each.get("InstalledVersion")): each
            for each in vulnerabilities(report)
        }.values()
    )


def vulnerabilities(report: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for result in report.get("Results") or ():
        yield from result.get("Vulnerabilities") or ()


def severity(found: Mapping[str, Any]) -> str:
    named = str(found.get("Severity", "UNKNOWN"))
    return named if named in SEVERITIES else "UNKNOWN"


def line(found: Mapping[str, Any]) -> str:
    """One vulnerability in words: `CVE-2023-0286 CRITICAL openssl 1.1.1n-0+deb11u3 -> 1.1.1n-0+deb11u4`."""
    installed, fixed = found.get("InstalledVersion", "?"), found["FixedVersion"]
    return f"{found['VulnerabilityID']} {severity(found)} {found['PkgName']} {installed} -> {fixed}"


def image_list(text: str) -> dict[str, str]:
    """Name -> reference, of a text with both in each line."""
    return dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip())


def readable(text: str, reference: str) -> dict[str, Any] | None:
    """A kept summary of the image `reference`; None for what is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    known = isinstance(found, dict) and {"scanned", "counts"} <= found.keys() and found.get("reference") == reference
    return found if known else None
