"""The alerts on pods, what owns them, and their volumes: each fires, clears, and leaves a near miss alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.observability.alerts import workloads
from components.observability.alerts.index import everything
from tests.support.alert_cases import Case, Firing, check_coverage, firing, never, series, try_cases
from tests.support.service_series import Counter, Gauge, counter, gauge

pytestmark = pytest.mark.engine
GROUPS = workloads.groups(everything())
POD = {"namespace": "default", "pod": "redis-0"}
CONTAINER = {**POD, "container": "redis"}
CLAIM = {"namespace": "default", "persistentvolumeclaim": "data-redis-0"}
DAEMON = {"namespace": "node-agents", "daemonset": "node-exporter"}
SET = {"namespace": "default", "statefulset": "redis"}
DEPLOYMENT = {"namespace": "traefik", "deployment": "traefik"}
SCALER = {"namespace": "default", "horizontalpodautoscaler": "qwen3-vl-hpa"}
Found = dict[str, Gauge | Counter]


def state(metric: str, **labels: str) -> str:
    return series(metric, job="kube-state-metrics", node="the-exporters-own", **labels)


def waiting(reason: str) -> str:
    return state("kube_pod_container_status_waiting_reason", **CONTAINER, reason=reason)


def ended(reason: str) -> str:
    return state("kube_pod_container_status_last_terminated_reason", **CONTAINER, reason=reason)


def pending(pod: str) -> str:
    return state("kube_pod_status_phase", namespace="default", pod=pod, phase="Pending")


def ready(node: str) -> str:
    return series("kube_node_status_condition", job="kube-state-metrics", node=node, condition="Ready", status="true")


def unschedulable(pod: str) -> str:
    return state("kube_pod_status_unschedulable", namespace="default", pod=pod)


def volume(what: str) -> str:
    return series(f"kubelet_volume_stats_{what}_bytes", job="kubelet", node="cp-1", **CLAIM)


def scaler(what: str) -> str:
    return state(f"kube_horizontalpodautoscaler_{what}", **SCALER)


READY = state("kube_pod_container_status_ready", **CONTAINER)
RESTARTS = state("kube_pod_container_status_restarts_total", **CONTAINER)
RUNNING = state("kube_daemonset_status_number_ready", **DAEMON)
MEMBERS = state("kube_statefulset_status_replicas_ready", **SET)
STUCK = state("kube_deployment_status_condition", **DEPLOYMENT, condition="Progressing", status="false")
LIMITED = state("kube_horizontalpodautoscaler_status_condition", **SCALER, condition="ScalingLimited", status="true")
KNOWN = series("up", job="kube-state-metrics", namespace="observability", pod="kube-state-metrics-x")
UNKNOWN = firing("ClusterStateUnknown")
WELL: Found = {
    KNOWN: gauge((0, 1)),
    series("up", job="node-exporter", node="gpu-1"): gauge((0, 1)),
    READY: gauge((0, 1)),
    RESTARTS: counter((0, 0)),
    pending("redis-0"): gauge((0, 0)),
    volume("available"): gauge((0, 50)),
    volume("capacity"): gauge((0, 100)),
    **{ready(node): gauge((0, 1)) for node in ("gpu-1", "gpu-2", "gpu-3")},
    state("kube_daemonset_status_desired_number_scheduled", **DAEMON): gauge((0, 3)),
    RUNNING: gauge((0, 3)),
    state("kube_statefulset_replicas", **SET): gauge((0, 3)),
    MEMBERS: gauge((0, 3)),
    STUCK: gauge((0, 0)),
    scaler("status_desired_replicas"): gauge((0, 4)),
    scaler("spec_max_replicas"): gauge((0, 4)),
    scaler("spec_min_replicas"): gauge((0, 2)),
    LIMITED: gauge((0, 0)),
}


def case(what: str, change: Found, expected: dict[float, list[Firing]], *near: str) -> Case:
    return Case(what, {**WELL, **change}, expected, near)


def fires(name: str, first: float, gone: float, labels: dict[str, str]) -> dict[float, list[Firing]]:
    return {first - 1: [], first + 1: [firing(name, **labels)], gone: []}


def away(minutes: float) -> Gauge:
    return gauge((10, 3), (minutes, 2), (0, 3))


CASES = [
    case("nothing; the scaler is where it may be", {}, never(5, 30, 60), "ScalerAtMaximum"),
    case(
        "a container that ends again and again",
        {
            waiting("CrashLoopBackOff"): gauge((10, None), (30, 1), (0, None)),
            READY: gauge((10, 1), (30, 0), (0, 1)),
        },
        fires("PodCrashLooping", 20, 41, CONTAINER),
    ),
    case(
        "one that runs for three minutes each time",
        {
            waiting("CrashLoopBackOff"): gauge((10, None), (5, 1), (3, None), (5, 1), (3, None), (5, 1), (0, None)),
            READY: gauge((10, 1), (5, 0), (3, 1), (5, 0), (3, 1), (5, 0), (0, 1)),
        },
        {
            19: [],
            22: [firing("PodCrashLooping", **CONTAINER)],
            24: [],
            27: [firing("PodCrashLooping", **CONTAINER)],
            32: [],
        },
    ),
    case(
        "one that ended again and again and is deleted",
        {
            waiting("CrashLoopBackOff"): gauge((10, None), (30, 1), (0, None)),
            READY: gauge((10, 1), (30, 0), (0, None)),
        },
        fires("PodCrashLooping", 20, 41, CONTAINER),
    ),
    case(
        "one that was started anew for 4 minutes",
        {waiting("CrashLoopBackOff"): gauge((10, None), (4, 1), (0, None)), READY: gauge((10, 1), (4, 0), (0, 1))},
        never(14, 19, 22),
        "PodCrashLooping",
    ),
    case(
        "a container at its memory limit",
        {RESTARTS: counter((10, 0), (1, 1), (0, 0)), ended("OOMKilled"): gauge((10, None), (0, 1))},
        fires("PodOomKilled", 10, 30, CONTAINER),
    ),
    case(
        "a container that ended by itself",
        {RESTARTS: counter((10, 0), (1, 1), (0, 0)), ended("Error"): gauge((10, None), (0, 1))},
        never(11, 20),
        "PodOomKilled",
    ),
    case(
        "a pod without a node",
        {pending("redis-0"): gauge((10, 0), (30, 1), (0, 0))},
        fires("PodPending", 25, 41, POD),
    ),
    case(
        "a pod without a node while one is away",
        {
            pending("redis-0"): gauge((10, 0), (30, 1), (0, 0)),
            unschedulable("redis-0"): gauge((10, None), (30, 1), (0, None)),
            ready("gpu-3"): gauge((10, 1), (30, 0), (0, 1)),
        },
        never(26, 39, 45),
        "PodPending",
    ),
    case(
        "one whose image cannot be pulled while a node is away",
        {pending("redis-0"): gauge((10, 0), (30, 1), (0, 0)), ready("gpu-3"): gauge((10, 1), (30, 0), (0, 1))},
        fires("PodPending", 25, 41, POD),
    ),
    case("kube-state-metrics silent", {KNOWN: gauge((10, 1), (20, 0), (0, 1))}, {19: [], 21: [UNKNOWN], 31: []}),
    case("kube-state-metrics gone", {KNOWN: gauge((10, 1), (20, None), (0, 1))}, {19: [], 21: [UNKNOWN], 31: []}),
    case("one that moves", {KNOWN: gauge((10, 1), (9, None), (0, 1))}, never(18, 20), "ClusterStateUnknown"),
    case("a replica without a GPU", {pending("qwen3-vl-webui-7-a"): gauge((0, 1))}, never(26, 60), "PodPending"),
    case(
        "8 % of a volume free",
        {volume("available"): gauge((10, 50), (30, 8), (0, 50))},
        fires("VolumeFilling", 25, 41, CLAIM),
    ),
    case("12 % of a volume free", {volume("available"): gauge((0, 12))}, never(26, 60), "VolumeFilling"),
    case("an agent that does not run", {RUNNING: away(30)}, fires("DaemonSetNotRunning", 25, 41, DAEMON)),
    case(
        "an agent on a node that is away",
        {RUNNING: away(30), ready("gpu-3"): gauge((10, 1), (30, 0), (0, 1))},
        never(26, 39, 45),
        "DaemonSetNotRunning",
    ),
    case("a member that is not ready", {MEMBERS: away(30)}, fires("StatefulSetNotReady", 25, 41, SET)),
    case(
        "a member on a node that is away",
        {MEMBERS: away(30), ready("gpu-3"): gauge((10, 1), (30, 0), (0, 1))},
        never(26, 39, 45),
        "StatefulSetNotReady",
    ),
    case("one for 14 minutes", {MEMBERS: away(14)}, never(23, 26), "StatefulSetNotReady"),
    case(
        "a roll-out that stands still",
        {STUCK: gauge((10, 0), (20, 1), (0, 0))},
        fires("DeploymentStuck", 15, 31, DEPLOYMENT),
    ),
    case("one for 4 minutes", {STUCK: gauge((10, 0), (4, 1), (0, 0))}, never(13, 16), "DeploymentStuck"),
    case(
        "more load than the most replicas carry",
        {LIMITED: gauge((10, 0), (50, 1), (0, 0))},
        fires("ScalerAtMaximum", 40, 61, SCALER),
    ),
    case(
        "a scaler whose least is its most",
        {LIMITED: gauge((0, 1)), scaler("spec_min_replicas"): gauge((0, 4))},
        never(41, 60),
        "ScalerAtMaximum",
    ),
]


def test_causes_and_what_fires(tmp_path: Path) -> None:
    try_cases(tmp_path, GROUPS, CASES)


def test_every_alert_is_tried() -> None:
    check_coverage(GROUPS, CASES)
