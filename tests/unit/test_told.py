"""Who is told of what when several alerts fire: the cause, and never nobody."""

from __future__ import annotations

from itertools import permutations

import pytest

from components.observability.alertmanager_config import CAUSES, INSTEAD, PODS, SAID, inhibitions
from components.observability.alerts.index import every_alert
from tests.support.told import MATCHER, Labels, muted, told

NAMES = {alert.name for alert in every_alert()}


def fires(name: str, severity: str = "warning", **labels: str) -> Labels:
    return {"alertname": name, "severity": severity, **labels}


def on(node: str, *names: str) -> list[Labels]:
    return [fires(name, node=node) for name in names]


API_TOO = ("ApiServerDown", "KubeletDown", "NodeNotReady", "SchedulerDown", "ControllerManagerDown")
CRASHING = fires("PodCrashLooping", namespace="kube-system", pod="kube-apiserver-cp-1", container="kube-apiserver")
CASES = {
    "a node away": (on("gpu-1", "NodeDown", "NodeNotReady", "GpuExporterDown", "LogCollectorDown"), {"NodeDown"}),
    "an etcd member away": ([*on("cp-1", "EtcdMemberDown", *API_TOO), CRASHING], {"EtcdMemberDown"}),
    "an API server away": ([*on("cp-1", *API_TOO), CRASHING], {"ApiServerDown"}),
    "a kubelet away": (on("gpu-1", "KubeletDown", "NodeNotReady", "GpuExporterDown"), {"KubeletDown"}),
    "containerd away": (on("gpu-1", "NodeNotReady", "LogCollectorDown"), {"NodeNotReady"}),
    "an etcd member here and a kubelet there": (
        [*on("cp-1", "EtcdMemberDown", "NodeNotReady"), *on("cp-2", "KubeletDown", "NodeNotReady")],
        {"EtcdMemberDown", "KubeletDown"},
    ),
    "an exporter that ends again and again": (
        [
            *on("gpu-1", "GpuExporterDown"),
            fires("PodCrashLooping", namespace="kube-system", pod="dcgm-exporter-x", container="exporter"),
            fires("DaemonSetNotRunning", namespace="kube-system", daemonset="dcgm-exporter"),
            fires("ScalingMetricMissing", namespace="default", metric="gpu_utilization"),
        ],
        {"GpuExporterDown"},
    ),
    "an exporter and somebody else's pod": (
        [
            *on("gpu-1", "GpuExporterDown"),
            fires("PodCrashLooping", namespace="default", pod="redis-proxy-x", container="haproxy"),
            fires("ScalingMetricMissing", namespace="default", metric="qwen3_vl_requests_in_flight"),
        ],
        {"GpuExporterDown", "PodCrashLooping", "ScalingMetricMissing"},
    ),
    "no DNS": ([fires("DnsDown", "critical"), fires("HistoryNotSaved", "critical", pod="a")], {"DnsDown"}),
}


@pytest.mark.parametrize(("firing", "names"), CASES.values(), ids=CASES)
def test_the_cause_is_told_and_not_what_it_brings_along(firing: list[Labels], names: set[str]) -> None:
    assert {each["alertname"] for each in told(firing)} == names


def test_no_two_alerts_mute_each_other() -> None:
    rules = inhibitions()
    everything = [fires(name, node="cp-1") for name in sorted(NAMES)]
    for one, other in permutations(everything, 2):
        assert not (muted(one, [other], rules) and muted(other, [one], rules)), (one, other)


def test_the_rules_name_alerts_that_there_are() -> None:
    sides = [MATCHER.fullmatch(part) for cause, effects in INSTEAD for part in (cause, *effects)]
    said = "|".join(each.group(3) for each in sides if each and each.group(1) == "alertname")
    assert {*said.split("|"), *PODS.split("|"), *CAUSES.split("|"), *"|".join(SAID).split("|")} <= NAMES
