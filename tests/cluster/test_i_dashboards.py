"""Every panel asks for something that the lab's Prometheus has, under the names that the panel uses.

Grafana itself does not run here (its image is not to be had); what it would ask is asked in its place. The table of
exceptions is compared with the panels in tests/unit.
"""

from __future__ import annotations

import time

from components.observability.dashboards import Dashboard, dashboards
from components.observability.grafana import GrafanaSecrets
from components.observability.layer import grafana_args
from components.settings import Settings
from components.settings.stack_file import stack_settings
from tests.support.lab import Lab
from tests.support.lab_prometheus import query
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
    ("inference", "Log-ins"): "counted from the first one on",
    ("gpu", "Temperature of the memory"): "not every card has the sensor",
    ("gpu", "Double-bit errors"): "the exporter's stand-in has what the autoscaler and the alerts need",
    ("gpu", "Single-bit errors"): "as above",
    ("gpu", "Rows remapped after uncorrectable errors"): "as above",
    ("gpu", "Remapping failed"): "as above",
    ("gpu", "PCIe retries"): "as above",
    ("gpu", "Clock"): "as above",
    ("gpu", "Memory bus busy"): "as above",
    ("edge", "Share of errors"): "no request within the last minutes",
    ("cluster", "Youngest backup of etcd"): "the first one is made at night",
    ("cluster", "Restarts"): "nothing restarted",
    ("alerting", "Firing"): "nothing fires",
    ("alerting", "What fired when"): "nothing fires",
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


def silent(lab: Lab) -> dict[tuple[str, str], str]:
    """Panels with a query without any series, and that query."""
    asked = [
        ((dashboard.uid.removeprefix("qwen3-vl-"), panel.title), query.expr)
        for dashboard in shown()
        for panel in dashboard.panels
        if panel.source == "prometheus"
        for query in panel.queries
    ]
    answers = answered(lab, [expr for _, expr in asked])
    return {place: expr for (place, expr), found in zip(asked, answers, strict=True) if not found}


def answered(lab: Lab, exprs: list[str]) -> list[bool]:
    """Whether each has a series."""
    return [bool(found) for found in query(lab, *(f"count({expr})" for expr in exprs))]


def test_every_panel_has_something_to_show(stack: Stack, lab: Lab) -> None:
    service = ask.Service.of(stack.outputs())
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        assert ask.ask(service, "What colour is this?")
        found = {place: expr for place, expr in silent(lab).items() if place not in MAY_BE_EMPTY}
        if not found:
            return
        assert time.monotonic() < end, "\n".join(f"{place}: {expr}" for place, expr in found.items())
        time.sleep(10)
