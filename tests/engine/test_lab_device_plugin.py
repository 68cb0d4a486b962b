"""The stand-in for NVIDIA's device plugin, against a kubelet's side of the protocol: its own Go tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "tools/lab-device-plugin"


@pytest.mark.engine
def test_it_registers_follows_its_inventory_and_survives_a_kubelet_that_restarts() -> None:
    done = subprocess.run(
        ["go", "test", "-mod=readonly", "-count=1", "-v", "./..."],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--- PASS: TestLifeWithAKubeletThatRestarts" in done.stdout
