"""tools/doctor's questions to the real programs: three members of etcd with TLS, and an API server through the real kubectl."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.traffic import Pods
from host.remote import BOOT
from tests.support import doctor
from tests.support.etcd_cluster import Group
from tests.support.kubernetes import ApiServer, programs, small_cluster
from tests.support.scripts import sent
from tools.doctor.collect import SCRIPTS
from tools.doctor.row import Row
from tools.doctor.seen import Cluster, Lines, Node


def run(script: str, root: Path, path: str, **environment: str) -> str:
    """What a script prints whose node is a folder."""
    done = subprocess.run(
        ["bash", "-c", BOOT, script, "look"],
        input=sent(SCRIPTS / script, root),
        capture_output=True,
        timeout=120,
        env={"PATH": path, "LC_ALL": "C", "HOME": str(root), **environment},
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with Group(tmp_path) as running:
        yield running


def etcd_row(group: Group) -> Row:
    seen = doctor.healthy()
    for place in group.nodes:
        said = run("node.sh", place.root, os.environ["PATH"], NODE_ADDRESS=place.address, API_HOST="", API_PORT="6443")
        seen = replace(seen, nodes={**seen.nodes, place.name: Node(doctor.facts(), Lines.of(said))})
    return doctor.found(seen)["etcd"]


def test_etcd_says_how_it_is(group: Group) -> None:
    row = etcd_row(group)
    assert row.status == "ok", row
    assert row.values["members"] == ["master-1", "master-2", "master-3"]
    assert row.values["leader"] in row.values["members"]
    group.etcdctl(group.nodes[0], "put", "canary", "x")
    assert all(size > 0 for size in row.values["bytes"].values())

    group.nodes[2].lost = True
    group.nodes[2].end()
    row = etcd_row(group)
    assert (row.status, "the member of master-3 does not serve" in row.text) == ("warning", True), row
    group.nodes[1].lost = True
    group.nodes[1].end()
    assert eventually_critical(group).status == "critical"


def eventually_critical(group: Group) -> Row:
    """A leader that is alone notices it after its election timeout."""
    for _ in range(30):
        row = etcd_row(group)
        if row.status == "critical":
            break
    return row


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApiServer, Path]]:
    """A server with a few objects, and the folder of the programs."""
    with small_cluster(tmp_path_factory.mktemp("api")) as (_, server):
        yield server, programs("kubernetes")["kubectl"].parent


def workload(name: str, **spec: Any) -> dict[str, Any]:
    pod = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "it", "image": "it"}]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": pod, **spec}}


def test_the_api_server_is_read_by_the_real_kubectl(api: tuple[ApiServer, Path], tmp_path: Path) -> None:
    server, folder = api
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]
    info = dict.fromkeys(
        ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeProxyVersion",
         "operatingSystem", "architecture"), ""
    )  # fmt: skip
    server.make(
        "/api/v1/nodes",
        {"metadata": {"name": "gpu-1"}, "spec": {"unschedulable": True}},
        {
            "conditions": conditions,
            "allocatable": {"nvidia.com/gpu": "1"},
            "nodeInfo": {**info, "kubeletVersion": "v1.34.2"},
        },
    )
    server.make(
        "/api/v1/nodes", {"metadata": {"name": "master-1"}}, {"nodeInfo": {**info, "kubeletVersion": "v1.33.0"}}
    )
    apps = "/apis/apps/v1/namespaces/default"
    server.make(f"{apps}/deployments", workload("qwen3-vl-webui", replicas=2), {"replicas": 2, "readyReplicas": 1})
    server.make(f"{apps}/statefulsets", workload("redis", replicas=3, serviceName="redis"), {"replicas": 0})
    counted = {"currentNumberScheduled": 5, "numberMisscheduled": 0, "desiredNumberScheduled": 5, "numberReady": 4}
    server.make(f"{apps}/daemonsets", workload("redis-proxy"), counted)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen3-vl-webui"}
    server.make(
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
        {"metadata": {"name": "qwen3-vl-hpa"}, "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5}},
        {"currentReplicas": 2, "desiredReplicas": 3, "conditions": []},
    )
    pod = {
        "metadata": {"name": "p", "labels": {"app": "prometheus"}},
        "spec": {"nodeName": "gpu-1", "containers": [{"name": "it", "image": "it"}]},
    }
    server.make("/api/v1/namespaces/default/pods", pod, {"podIP": "10.244.3.7", "conditions": conditions[1:]})
    server.make("/api/v1/namespaces", {"metadata": {"name": "monitoring"}}, {"phase": "Active"})
    of_an_operator = {
        "metadata": {"name": "p", "labels": {"app.kubernetes.io/name": "prometheus"}},
        "spec": {"nodeName": "gpu-2", "containers": [{"name": "it", "image": "it"}]},
    }
    there = {"podIP": "10.244.4.8", "conditions": conditions[1:]}
    server.make("/api/v1/namespaces/monitoring/pods", of_an_operator, there)

    (tmp_path / "etc/kubernetes").mkdir(parents=True)
    (tmp_path / "etc/kubernetes/admin.conf").write_text(server.kubeconfig())
    where = {"NODE_ADDRESS": "127.0.0.1", "API_PORT": str(server.port), "INGRESS_HOST": "qwen3.example.com"}
    cluster = Cluster("master-1", Lines.of(run("cluster.sh", tmp_path, f"{folder}:{os.environ['PATH']}", **where)))

    first, second = cluster.members["gpu-1"], cluster.members["master-1"]
    assert (first.ready, first.cordoned, first.kubelet, first.gpus) == ("True", True, "v1.34.2", 1)
    assert (second.ready, second.cordoned, second.kubelet, second.gpus) == ("Unknown", False, "v1.33.0", 0)
    found = {(each.kind, each.name): (each.wanted, each.ready) for each in cluster.workloads}
    assert found == {
        ("Deployment", "qwen3-vl-webui"): (2, 1),
        ("StatefulSet", "redis"): (3, 0),
        ("DaemonSet", "redis-proxy"): (5, 4),
    }
    assert cluster.said.all("hpa", 6) == [("default", "qwen3-vl-hpa", "2", "5", "2", "3")]
    assert cluster.pods(Pods("default", "prometheus")) == [("gpu-1", "10.244.3.7")]
    assert cluster.pods(Pods("monitoring", "prometheus")) == [("gpu-2", "10.244.4.8")]
    assert cluster.address == ""
