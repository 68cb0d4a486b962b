"""Every panel asks for something that the lab's Prometheus has, under the names that the panel uses.

Grafana itself does not run here (its image is not to be had); what it would ask is asked by the same way, through a port that
kubectl forwards, because no policy lets a stranger in.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.observability.dashboards import Dashboard, dashboards
from components.observability.grafana import GrafanaSecrets
from components.observability.layer import grafana_args
from components.settings import Settings
from components.settings.stack_file import stack_settings
from tests.cluster.test_1_build import kubectl
from tests.support.chat_processes import free_port
from tests.support.lab import Lab
from tests.support.stack import Stack
from tools import ask

# Rates need two readings within their window, objectives a minute between two evaluations.
PATIENCE_SECONDS = 180

# Dashboard (without qwen3-vl-), panel: why it may be empty where all is well. What is listed and has data is no fault.
MAY_BE_EMPTY = {
    ("start", "Requests answered"): "no request within the hour that the rule looks at, right after the first start",
    ("start", "Error budget left"): "as above",
    ("start", "Budget of slow answers left"): "as above",
    ("start", "Alerts that fire"): "none does",
    ("start", "Readings that fail"): "none does",
    ("start", "How long answers of the page take"): "counted once a person has asked on the page",
    ("start", "First word on the page"): "counted once a person has asked on the page",
    ("inference", "Answers of the page by outcome"): "counted once a person has asked on the page",
    ("inference", "Prepared images and prefixes found again"): "the engine's stand-in has no caches",
    ("gpu", "Temperature of the memory"): "not every card has the sensor",
    ("gpu", "Double-bit errors"): "the exporter's stand-in has what the autoscaler and the alerts need",
    ("gpu", "Single-bit errors"): "as above",
    ("gpu", "Rows remapped after uncorrectable errors"): "as above",
    ("gpu", "Remapping failed"): "as above",
    ("gpu", "PCIe retries"): "as above",
    ("gpu", "Clock"): "as above",
    ("gpu", "Power"): "as above",
    ("gpu", "Memory bus busy"): "as above",
    ("edge", "Share of errors"): "no request within the last minutes",
    ("cluster", "Youngest backup of etcd"): "the first one is made at night",
    ("cluster", "Restarts"): "nothing restarted",
    ("alerting", "Firing"): "nothing fires",
    ("alerting", "Pending"): "nothing is pending",
    ("alerting", "Rules that failed"): "counted from the first failure on",
    ("alerting", "Messages sent"): "counted for each way that is configured",
    ("alerting", "Messages that failed"): "counted for each way that is configured",
    ("alerting", "Vulnerabilities by image"): "the lab scans nothing",
    ("alerting", "Age of the oldest result"): "the lab scans nothing",
}


def lab_settings() -> Settings:
    """The lab's, with Grafana on: what it would show of this very cluster."""
    settings = stack_settings("lab")
    grafana = settings.observability.grafana.model_copy(update={"enabled": True})
    observability = settings.observability.model_copy(update={"grafana": grafana})
    return settings.model_copy(update={"observability": observability})


def shown() -> tuple[Dashboard, ...]:
    args = grafana_args(lab_settings(), GrafanaSecrets())
    assert args is not None
    return dashboards(args.parts)


@pytest.fixture
def prometheus(stack: Stack, lab: Lab, tmp_path: Path) -> Iterator[str]:
    """Address on this machine that leads to Prometheus."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(stack.outputs()["kubeconfig"])
    port = free_port()
    command = ["kubectl", "-n", "observability", "port-forward", "service/prometheus", f"{port}:9090"]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    forwarding = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        forwarding.terminate()
        forwarding.wait(10)


def series(prometheus: str, expr: str) -> list[dict[str, Any]]:
    body = urllib.parse.urlencode({"query": expr}).encode()
    with urllib.request.urlopen(f"{prometheus}/api/v1/query", body, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def silent(prometheus: str) -> dict[tuple[str, str], str]:
    """Panels with a query without any series, and that query."""
    return {
        (dashboard.uid.removeprefix("qwen3-vl-"), panel.title): query.expr
        for dashboard in shown()
        for panel in dashboard.panels
        if panel.source == "prometheus"
        for query in panel.queries
        if not series(prometheus, query.expr)
    }


def test_every_panel_has_something_to_show(stack: Stack, lab: Lab, prometheus: str) -> None:
    service = ask.Service.of(stack.outputs())
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        assert ask.ask(service, "What colour is this?")
        try:
            found = {place: expr for place, expr in silent(prometheus).items() if place not in MAY_BE_EMPTY}
        except (OSError, urllib.error.URLError):  # the port is not forwarded yet
            found = {("prometheus", "port-forward"): "nobody answers"}
        if not found:
            return
        assert time.monotonic() < end, "\n".join(f"{place}: {expr}" for place, expr in found.items())
        time.sleep(10)


def test_what_may_be_empty_is_a_panel() -> None:
    """A table of exceptions that names what is gone hides the next one."""
    args = grafana_args(lab_settings(), GrafanaSecrets())
    assert args is not None
    everything = {(each.uid.removeprefix("qwen3-vl-"), panel.title) for each in shown() for panel in each.panels}
    dashboards_shown = {uid for uid, _ in everything}
    gone = {place for place in MAY_BE_EMPTY if place[0] in dashboards_shown} - everything
    optional = {title for uid, title in gone if uid == "alerting"}
    assert gone <= {("alerting", title) for title in optional}
