"""Known vulnerabilities of the images, and that somebody looks for them at all. Pure."""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Watched, span
from components.observability.targets import IMAGES
from components.settings.observability import ImageScan

HOUR = 3600
SINCE = f'image_scan_waiting_since_timestamp_seconds{{job="{IMAGES.job}"}}'
# The images of two turns were missed: one may be, when a registry is away.
TURNS = 2


def groups(watched: Watched) -> list[Group]:
    scan = watched.image_scan
    return [Group(name="images", rules=(vulnerable(scan), old(scan), silent()))] if scan else []


def vulnerable(scan: ImageScan) -> Alert:
    """Unfixed ones are counted, but nobody can do anything about them here."""
    severities = "CRITICAL" if scan.severity == "CRITICAL" else "CRITICAL|HIGH"
    found = f'image_vulnerabilities{{job="{IMAGES.job}",severity=~"{severities}",fixable="true"}}'
    return Alert(
        name="ImageVulnerable",
        severity="warning",
        expr=f"sum by (image) (max by (image, severity) ({found})) > 0",
        for_seconds=900,
        summary="Image {{ $labels.image }} has {{ $value }} vulnerabilities with a fix",
        description="Trivy knows versions of packages in {{ $labels.image }} in which they are fixed. The ConfigMap"
        " observability/image-scan-results lists the worst. Take a newer tag, in components/versions.py or images.overrides.",
    )


def old(scan: ImageScan) -> Alert:
    seconds = TURNS * scan.every_hours * HOUR
    return Alert(
        name="ImageScanOld",
        severity="warning",
        expr=f"time() - max by (image) ({SINCE}) > {seconds}",
        for_seconds=900,
        summary="Image {{ $labels.image }} has not been scanned for {{ $value | humanizeDuration }}",
        description=f"Two scans, {span(scan.every_hours * HOUR)} apart, have told nothing of {{{{ $labels.image }}}}. Look at the"
        " log of the newest Job image-scan in the namespace observability: registry or database out of reach, or too"
        " little memory.",
    )


def silent() -> Alert:
    return Alert(
        name="ImageScanSilent",
        severity="warning",
        expr=f"absent({SINCE})",
        for_seconds=1800,
        summary="Nothing is known about the images",
        description="The Deployment image-scan in the namespace observability, which shows the results of the scans, does not"
        " answer Prometheus. Look at its pod.",
    )
