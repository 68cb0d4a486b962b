"""`python -m tools.doctor` on the lab: fine when all is, and the one who is not is named."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.test_1_build import kubectl
from tests.support.lab import ROOT, Lab
from tests.support.stack import Stack

SETTLED_SECONDS = 420
"""Alerts about earlier tests' faults clear within it, and new nodes' rates are known."""
AS_ROWS = {
    "node",
    "versions",
    "certificates",
    "packet filter",
    "API",
    "etcd",
    "snapshots",
    "GPUs",
    "model",
    "web UI and engine",
}
AS_ROWS |= {"gateways", "other workloads", "Redis", "gateway", "alerts"}


def doctor(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.doctor", *words]
    return subprocess.run(command, cwd=ROOT, env=stack.environment(), capture_output=True, text=True, timeout=300)


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exitCode"] == done.returncode
    return found


def until(stack: Stack, code: int, seconds: float) -> dict[str, Any]:
    """The first report with that exit code, or the last one."""
    end = time.monotonic() + seconds
    while (done := doctor(stack, "--json")).returncode != code and time.monotonic() < end:
        time.sleep(5)
    return told(done)


def worries(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in report["rows"] if row["status"] != "ok"]


@pytest.fixture
def without_worker(lab: Lab) -> Iterator[str]:
    lab.run("kill", "gpu-2")
    yield "gpu-2"
    lab.run("start", "gpu-2")
    kubectl(lab, "wait node gpu-2 --for condition=Ready --timeout 110s")
    lab.shell(
        "master-1",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n default rollout status deployment/qwen3-vl-webui --timeout=500s",
        seconds=520,
    )


@pytest.mark.chaos
def test_a_healthy_lab_is_fine_in_every_row(stack: Stack, lab: Lab) -> None:
    report = until(stack, 0, SETTLED_SECONDS)
    assert worries(report) == []
    assert (report["status"], report["stack"]) == ("ok", "lab")
    assert {row["about"] for row in report["rows"]} == AS_ROWS
    nodes = {row["name"] for row in report["rows"] if row["about"] == "node"}
    assert nodes == {node["name"] for node in stack.setting("nodes")}
    print(f"the report took {report['seconds']} s")

    table = doctor(stack, "--ask")
    assert table.returncode == 0, table.stdout + table.stderr
    assert "question" in table.stdout
    password = stack.outputs("--show-secrets")["kubeconfig"]
    secrets = [line.split(": ")[1] for line in password.splitlines() if "-key-data: " in line]
    assert secrets
    assert not [secret for secret in secrets if secret in table.stdout + json.dumps(report)]


def test_a_worker_that_is_off_is_named(stack: Stack, lab: Lab, without_worker: str) -> None:
    report = until(stack, 1, 120)  # the address of the gateway may have to move first
    rows = {(row["about"], row["name"]): row for row in report["rows"]}
    assert rows["node", without_worker]["status"] in ("unknown", "warning")
    assert f"{without_worker}: " in rows["node", without_worker]["text"]
    assert report["exitCode"] == 1, worries(report)
    for other in ("master-1", "gpu-1", "storage-1"):
        assert rows["node", other]["status"] == "ok", rows["node", other]
    assert rows["etcd", ""]["status"] == "ok"
