"""Things are stopped on real nodes: who is on duty is told of each of them and of nothing else, until it is back.

Before anything else is broken: some alerts remember. Most rules wait ten minutes, so what hides nothing else is stopped at once.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from components.observability.alertmanager_config import GROUP_SECONDS
from tests.cluster.test_1_build import kubectl
from tests.cluster.test_1_metrics import OF_THE_LAB
from tests.support.lab import Lab
from tests.support.lab_inside import Inside
from tests.support.stack import Stack
from tests.support.told import Labels, told

pytestmark = pytest.mark.chaos
# Longer than what waits for 15 minutes, so that what is told of beside is seen too.
STOPPED_SECONDS = 1020
# Until all is well again: 15 minutes that some rules look back, and a container that is started every five.
BACK_SECONDS = 1200
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
LOST = "gpu-2"
FIRING = urllib.parse.quote('ALERTS{alertstate="firing"}', safe="")
# What tells one alert from another of the same name.
SUBJECT = ("node", "daemonset", "statefulset", "deployment", "container", "name", "pod")
Told = tuple[str, str]  # an alert and what it is about


def told_of(alert: Labels) -> Told:
    return alert["alertname"], next((alert[label] for label in SUBJECT if label in alert), "")


@dataclass(frozen=True, slots=True)
class Stopped:
    """Something that is stopped by commands on a node, or by a verb of the lab, and started again."""

    node: str
    stop: str
    start: str
    alerts: frozenset[Told]
    # What may be told as well, because it is so: where a pod runs is not ours to say.
    also: frozenset[Told] = frozenset()
    verbs: tuple[str, str] | None = field(default=None)

    def now(self, lab: Lab) -> None:
        lab.run(self.verbs[0], self.node) if self.verbs else lab.shell(self.node, self.stop)

    def back(self, lab: Lab) -> None:
        lab.run(self.verbs[1], self.node) if self.verbs else lab.shell(self.node, self.start)


def static_pod(node: str, name: str, alert: str) -> Stopped:
    away, home = f"/root/{name}.yaml", f"/etc/kubernetes/manifests/{name}.yaml"
    return Stopped(node, f"mv {home} {away}", f"mv {away} {home}", frozenset({(alert, node)}))


def scaled(namespace: str, what: str, replicas: int, *alerts: Told) -> Stopped:
    scale = f"{KUBECTL} -n {namespace} scale {what} --replicas"
    return Stopped("master-1", f"{scale}=0", f"{scale}={replicas}", frozenset(alerts))


def unit(node: str, name: str, alert: str) -> Stopped:
    return Stopped(node, f"systemctl stop {name}", f"systemctl start {name}", frozenset({(alert, node)}))


def killed(node: str, process: str, alert: str) -> Stopped:
    """A program of a pod that ends whenever it is started; `process` is a pattern of its command line."""
    name = "".join(letter for letter in process if letter.isalnum())
    # In brackets, so that it is not the loop's own command line.
    loop = f"while :; do pkill -KILL -f '[{process[0]}]{process[1:]}'; sleep 0.2; done"
    start = f"systemctl stop stopped-{name}"
    return Stopped(node, f'systemd-run --unit=stopped-{name} sh -c "{loop}"', start, frozenset({(alert, node)}))


def closed(node: str, port: int, alert: str) -> Stopped:
    """A port that nobody reaches from another machine or a pod."""
    table = f"stopped{port}"
    chain = f"nft 'add chain inet {table} in {{ type filter hook input priority -200; }}'"
    rule = f"nft 'add rule inet {table} in iifname != lo tcp dport {port} drop'"
    stop = f"nft add table inet {table} && {chain} && {rule}"
    return Stopped(node, stop, f"nft delete table inet {table}", frozenset({(alert, node)}))


MODELS = "/var/lib/qwen3-vl/models/revisions/r1"
GPUS = "/run/cdi/qwenvl-lab-gpus"
AGENT = f"{KUBECTL} delete pod --wait=false -l app=model-cache --field-selector spec.nodeName=gpu-1"
REPLICA = f"{KUBECTL} delete pod --wait=false -l app=qwen3-vl-webui --field-selector spec.nodeName=gpu-1"
PODS = (
    static_pod("master-2", "kube-scheduler", "SchedulerDown"),
    static_pod("master-3", "kube-controller-manager", "ControllerManagerDown"),
    scaled("observability", "statefulset/loki", 1, ("LogStoreDown", "")),
    scaled("observability", "deployment/kube-state-metrics", 1, ("ClusterStateUnknown", "")),
    scaled("default", "statefulset/redis", 3, ("RedisWithoutPrimary", "")),
    scaled("traefik", "deployment/traefik", 2, ("NoGatewayUp", "")),
    killed("master-1", "/usr/local/bin/otel-collector", "LogCollectorDown"),
    killed("gpu-2", "/usr/bin/dcgm-exporter", "GpuExporterDown"),
    Stopped("gpu-1", f"echo '1 1' >{GPUS}", f"echo 1 >{GPUS}", frozenset({("GpuMissing", "gpu-1")})),
    Stopped("master-1", REPLICA, "true", frozenset()),  # while it holds the GPU, that is still reported
)
# A stopped member of etcd takes the API server of its node along, and that the kubelet, the scheduler and the controller manager.
ON_NODES = (
    static_pod("master-2", "etcd", "EtcdMemberDown"),
    static_pod("master-3", "kube-apiserver", "ApiServerDown"),
    unit(LOST, "kubelet", "KubeletDown"),
    closed("gpu-1", 9110, "NodeExporterDown"),
    killed("master-1", "/usr/local/bin/kube-proxy", "KubeProxyDown"),
    killed("gpu-1", "model_cache agent", "ModelCacheDown"),
    scaled("observability", "deployment/jaeger", 1, ("TraceStoreDown", "")),
    scaled(
        "observability",
        "deployment/prometheus-adapter",
        2,
        ("MetricsApiDown", "v1beta2.custom.metrics.k8s.io"),
        ("MetricsApiDown", "v1beta1.external.metrics.k8s.io"),
    ),
)
# With the worker goes the other copy of the model, so a broken one asks the source, which is stopped too.
A_WORKER = (
    Stopped(
        LOST,
        "",
        "",
        frozenset({("NodeDown", LOST)}),
        frozenset({("LogStoreDown", "")}),  # a StatefulSet's pod stays with its node
        ("kill", "start"),
    ),
    scaled("kube-system", "deployment/coredns", 2, ("DnsDown", "")),
    unit("master-3", "containerd", "NodeNotReady"),
    killed("gpu-1", "/usr/bin/nvidia-device-plugin", "GpuNotOffered"),
    scaled("observability", "deployment/metrics-server", 2, ("MetricsApiDown", "v1beta1.metrics.k8s.io")),
    Stopped("storage-1", "systemctl stop nfs-ganesha", "systemctl start nfs-ganesha", frozenset()),
    Stopped(
        "gpu-1",
        f"find {MODELS} -name '*.safetensors' -delete",
        "true",  # the copy mends itself
        frozenset({("ModelCopyFailing", "gpu-1")}),
    ),
    Stopped("master-1", AGENT, "true", frozenset()),
)
ROUNDS = {"pods": PODS, "on nodes": ON_NODES, "a worker": A_WORKER}


class OnDuty:
    """What somebody is told, as Alertmanager would: of what fires and is not muted for as long as it waits for others."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._since, self.told = lab, dict[Told, float](), set[Told]()
        pods = json.loads(kubectl(lab, "-n observability get pods -l app=prometheus -o json"))["items"]
        name = next(pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] != LOST)
        self._prometheus = Inside("observability", f"pod/{name}", 9090, forwarded=19091)

    def now(self) -> set[Told] | None:
        """None while nobody answers: API servers come and go."""
        try:
            (found,) = self._prometheus.get(self._lab, f"/api/v1/query?query={FIRING}")
        except (AssertionError, subprocess.TimeoutExpired):
            return None
        firing: list[Labels] = [each["metric"] for each in found["data"]["result"]]
        now = {told_of(each) for each in told(firing)}
        now = {each for each in now if each[0] not in OF_THE_LAB}
        self._since = {each: self._since.get(each, time.monotonic()) for each in now}
        self.told |= {each for each, since in self._since.items() if time.monotonic() - since >= GROUP_SECONDS}
        return now

    def until(self, enough: Callable[[set[Told]], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := self.now()) is None or not enough(now):
            assert time.monotonic() < end, (now, self.told)
            time.sleep(5)


@pytest.fixture
def on_duty(stack: Stack, lab: Lab) -> OnDuty:
    found = OnDuty(lab)
    found.until(lambda now: not now, BACK_SECONDS)
    found.told.clear()
    return found


@pytest.mark.parametrize("stopped", ROUNDS.values(), ids=ROUNDS)
def test_what_is_stopped_is_told_and_nothing_else_until_it_is_back(
    lab: Lab, on_duty: OnDuty, stopped: tuple[Stopped, ...]
) -> None:
    """Compared is what is told: what fires without what Alertmanager's rules mute, since the lab has nobody to be told."""
    wanted = {alert for each in stopped for alert in each.alerts}
    begun = time.monotonic()
    try:
        for each in stopped:
            each.now(lab)
        on_duty.until(lambda _: time.monotonic() - begun >= STOPPED_SECONDS, STOPPED_SECONDS + 120)
    finally:
        for each in reversed(stopped):
            each.back(lab)
    seen = set(on_duty.told)
    on_duty.until(lambda now: not now, BACK_SECONDS)
    assert seen - {alert for each in stopped for alert in each.also} == wanted
