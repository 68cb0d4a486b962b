"""The lab's stand-ins for what NVIDIA runs on a node: their own Go tests, against the other side of each protocol."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("stand_in", "proves"),
    [
        ("lab-device-plugin", "TestLifeWithAKubeletThatRestarts"),
        ("lab-dcgm-exporter", "TestEveryGpuIsToldWithItsHolder"),
    ],
)
def test_its_go_tests_pass(stand_in: str, proves: str) -> None:
    done = subprocess.run(
        ["go", "test", "-mod=readonly", "-count=1", "-v", "./..."],
        cwd=TOOLS / stand_in,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--- PASS: {proves}" in done.stdout
