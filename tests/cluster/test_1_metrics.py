"""What Prometheus reads on real nodes: everything that runs. What it says when something stops: test_1_stopped.py.

Before anything is broken: some alerts remember what other tests have taken away.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from components.observability.node_targets import NODE_TARGETS
from tests.support.lab import Lab
from tests.support.lab_prometheus import numbers, query
from tests.support.stack import Stack

PATIENCE_SECONDS = 240
CONTROL_PLANES, NODES = 3, 5  # the storage machine is no node of the cluster
# Pods that are read, of the lab's stack: two gateways, a proxy on each node, an agent and an exporter on each worker.
PODS = {
    "prometheus": 1,  # each of the two reads itself
    "qwen3-vl-webui": 2,
    "qwen3-vl-engine": 2,
    "traefik": 2,
    "dcgm-exporter": 2,
    "redis-proxy": 5,
    "kube-state-metrics": 1,
    "coredns": 2,
    "model-cache": 2,
    "jaeger": 1,
    "loki": 1,
    "log-collector": 5,
}
# What may fire where all is well, and why here.
OF_THE_LAB = {
    "Watchdog": "it always fires: its silence is what somebody outside is told of",
    "NodeClockOff": "a container cannot set the machine's clock, so chrony never has it in step",
    "EtcdDiskSlow": "three members share one disk with everything that is tested beside them",
    "ApiSlow": "as above",
    "EtcdLeaderChanges": "as above, and an hour remembers each member that was stopped",
}


def wanted() -> dict[str, float]:
    return {**PODS, **{each.job: CONTROL_PLANES if each.control_planes else NODES for each in NODE_TARGETS}}


def firing(lab: Lab) -> set[tuple[str, str]]:
    """Alerts and the nodes that they name."""
    found = query(lab, 'ALERTS{alertstate="firing"}')[0]
    return {(each["metric"]["alertname"], each["metric"].get("node", "")) for each in found}


def eventually(
    found: Callable[[], object], is_right: Callable[[object], bool], seconds: int = PATIENCE_SECONDS
) -> None:
    end = time.monotonic() + seconds
    while not is_right(said := found()):
        assert time.monotonic() < end, said
        time.sleep(5)


def test_everything_that_runs_is_read_and_nothing_is_down(stack: Stack, lab: Lab) -> None:
    expected = wanted()
    eventually(lambda: numbers(lab, "sum by (job) (up)", "job"), lambda said: said == expected)
    eventually(lambda: query(lab, "up == 0"), lambda said: said == [[]])


def test_a_healthy_cluster_alerts_nobody(stack: Stack, lab: Lab) -> None:
    """But by what is said of the lab, and the watchdog fires."""
    eventually(lambda: {name for name, _ in firing(lab)} - OF_THE_LAB.keys(), lambda said: said == set())
    assert ("Watchdog", "") in firing(lab)
