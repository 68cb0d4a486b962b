"""Go programs of this repository: their own Go tests. Stand-ins are tried against the other side of each protocol."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("program", "proves"),
    [
        ("lab-device-plugin", "TestLifeWithAKubeletThatRestarts"),
        ("lab-dcgm-exporter", "TestEveryGpuIsToldWithItsHolder"),
        ("acme-issuer", "TestFailuresArePausedForLongerAndNeverTooOften"),
    ],
)
def test_its_go_tests_pass(program: str, proves: str) -> None:
    done = subprocess.run(
        ["go", "test", "-mod=readonly", "-count=1", "-v", "./..."],
        cwd=TOOLS / program,
        capture_output=True,
        text=True,
        timeout=1800,  # the first one compiles the libraries
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--- PASS: {proves}" in done.stdout
