"""scan_images.sh with a stand-in for Trivy: one image's failure or death is not the others'."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from components.observability.image_scan import SCRIPT

# Says what it was told, does what the reference names. `killed` ends the whole container, as its memory limit does.
TRIVY = """#!/bin/sh
echo "$*" >>"$CALLS"
while [ $# -gt 1 ]; do [ "$1" = --output ] && output=$2; shift; done
case $1 in
  */broken:*) echo half >"$output"; exit 1 ;;
  */killed:*) echo half >"$output"; kill -9 $PPID; sleep 5 ;;
  *) echo '{}' >"$output"; cat ;;
esac
"""


class Scan:
    def __init__(self, folder: Path) -> None:
        self.folder, self.reports, self.calls = folder, folder / "reports", folder / "calls"
        (folder / "bin").mkdir()
        self.reports.mkdir()
        trivy = folder / "bin/trivy"
        trivy.write_text(TRIVY)
        trivy.chmod(0o755)

    def run(self, *names: str) -> int:
        images = self.folder / "images"
        images.write_text("".join(f"{name} registry.example.com/{name}:v1\n" for name in names))
        self.calls.write_text("")
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "IMAGES": str(images),
            "REPORTS": str(self.reports),
            "TMPDIR": str(self.folder / "scratch"),
            "CALLS": str(self.calls),
        }
        return subprocess.run(["/bin/sh", str(SCRIPT)], env=environment, timeout=120, capture_output=True).returncode

    def scanned(self) -> list[str]:
        return [line.rpartition("/")[2] for line in self.calls.read_text().splitlines()]

    def found(self) -> set[str]:
        return {path.stem for path in self.reports.glob("*.json")}


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return Scan(tmp_path)


def test_each_image_has_its_report_and_trivy_does_not_read_the_list(scan: Scan) -> None:
    assert scan.run("one", "two", "three") == 0
    assert scan.found() == {"one", "two", "three"}
    assert scan.scanned() == ["one:v1", "two:v1", "three:v1"]


def test_an_image_that_cannot_be_scanned_has_no_report(scan: Scan) -> None:
    assert scan.run("one", "broken", "two") == 0
    assert scan.found() == {"one", "two"}


def test_a_scan_that_ends_the_container_is_passed_over_when_it_starts_again(scan: Scan) -> None:
    assert scan.run("one", "killed", "two") != 0
    assert scan.found() == {"one"}
    assert scan.run("one", "killed", "two") == 0
    assert scan.scanned() == ["two:v1"]
    assert scan.found() == {"one", "two"}
