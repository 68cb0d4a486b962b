"""Loki and the collectors, in the objects: what they may, what they read, and that nothing is left of them when logs are off."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from components import traffic
from components.observability.scanned_images import unused
from components.settings.parse import parse
from components.traffic import CLUSTER_DNS, GRAFANA, LOG_COLLECTOR, LOKI, PROMETHEUS, Way
from tests.support.graph import Secret
from tests.support.manifests import BUCKET_KEYS, Manifest, graph, manifests
from tests.support.settings import VALID

BUCKET = {"kind": "s3", "endpoint": "http://10.9.9.9:9000", "bucket": "logs"}


def settings(workers: int = 2, **logs: Any) -> Any:
    config = copy.deepcopy(VALID)
    config["nodes"] += [
        {"name": f"gpu-{number}", "address": f"192.168.1.{20 + number}", "role": "worker", "gpus": 1}
        for number in range(3, workers + 1)
    ]
    return parse({**config, "observability": {"logs": {"enabled": True, **logs}}})


def build(workers: int = 2, **logs: Any) -> list[Manifest]:
    return manifests(graph(settings(workers, **logs)))


def one(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [each for each in objects if each.kind == kind and each.name == name]
    return found


def of_logs(objects: list[Manifest]) -> set[str]:
    """Everything whose app is one of the two."""
    return {
        each.where
        for each in objects
        if each.body["metadata"].get("labels", {}).get("app") in ("loki", "log-collector")
    }


def test_a_collector_is_root_without_rights_on_every_node() -> None:
    collector = one(build(), "DaemonSet", "log-collector")
    assert collector.namespace == traffic.AGENTS
    pod = collector.pod["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert not pod.get("hostNetwork")
    (container,) = pod["containers"]
    security = pod["securityContext"] | container["securityContext"]
    assert not {"runAsUser", "runAsNonRoot"} & set(security)  # its image is of root
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True


def test_a_collector_writes_its_own_folder_only() -> None:
    pod = one(build(), "DaemonSet", "log-collector").pod["spec"]
    folders = {each["name"]: each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    mounts = {each["name"]: each.get("readOnly", False) for each in pod["containers"][0]["volumeMounts"]}
    assert {path: mounts[name] for name, path in folders.items()} == {
        "/var/log": True,
        "/run/log": True,
        "/var/lib/qwen3-vl/log-collector": False,
    }


@pytest.mark.parametrize(
    ("workers", "storage", "replicas"), [(2, None, 1), (4, None, 1), (2, BUCKET, 1), (3, BUCKET, 3), (5, BUCKET, 3)]
)
def test_there_are_three_where_a_bucket_keeps_what_they_have(
    workers: int, storage: dict[str, str] | None, replicas: int
) -> None:
    objects = build(workers, **({"storage": storage} if storage else {}))
    assert one(objects, "StatefulSet", "loki").spec["replicas"] == replicas
    (text,) = [each.body["data"]["loki.yaml"] for each in objects if "loki.yaml" in (each.body.get("data") or {})]
    assert yaml.safe_load(text)["common"]["replication_factor"] == replicas
    budgets = [each for each in objects if each.kind == "PodDisruptionBudget" and each.name == "loki"]
    peers = [each for each in objects if each.kind == "Service" and each.name == "loki-peers"]
    assert len(budgets) == len(peers) == (1 if replicas > 1 else 0)
    assert all(each.spec["maxUnavailable"] == 1 for each in budgets)


def test_keys_of_the_bucket_come_from_a_secret() -> None:
    recorded = graph(settings(3, storage=BUCKET))
    (secret,) = [each for each in recorded.resources if each.name == "loki-bucket"]
    assert isinstance(secret.inputs["stringData"], Secret)
    assert secret.inputs["stringData"].value == dict(zip(("access-key", "secret-key"), BUCKET_KEYS, strict=True))
    container = one(manifests(recorded), "StatefulSet", "loki").pod["spec"]["containers"][0]
    asked = {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"] if "valueFrom" in each}
    assert asked == {"S3_ACCESS_KEY": "access-key", "S3_SECRET_KEY": "secret-key"}
    assert "-config.expand-env=true" in container["args"]


def test_room_is_what_the_settings_say() -> None:
    objects = build(diskMib=700, memoryMib=300, collectorMemoryMib=100)
    pod = one(objects, "StatefulSet", "loki").pod["spec"]
    sizes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each}
    assert sizes["data"] == "700Mi"
    assert pod["containers"][0]["resources"]["limits"]["memory"] == "300Mi"
    (collector,) = one(objects, "DaemonSet", "log-collector").pod["spec"]["containers"]
    assert collector["resources"]["limits"]["memory"] == "100Mi"


def test_collectors_know_the_service_by_its_name() -> None:
    objects = build()
    assert one(objects, "Service", "loki").spec["ports"][0]["port"] == 3100
    (text,) = [
        each.body["data"]["collector.yaml"] for each in objects if "collector.yaml" in (each.body.get("data") or {})
    ]
    assert "http://loki.observability.svc.cluster.local:3100/otlp/v1/logs" in text


def test_the_ways_of_logs_are_open_and_no_others() -> None:
    ends = {LOKI, LOG_COLLECTOR}
    usual = {
        Way(LOG_COLLECTOR, LOKI, traffic.tcp(3100)),
        Way(LOG_COLLECTOR, CLUSTER_DNS, traffic.DNS),
        Way(PROMETHEUS, LOKI, traffic.tcp(3100)),
        Way(PROMETHEUS, LOG_COLLECTOR, traffic.tcp(8888)),
        Way(GRAFANA, LOKI, traffic.tcp(3100)),
    }
    assert {way for way in traffic.ways(settings()) if ends & {way.source, way.target}} == usual
    more = {way for way in traffic.ways(settings(3, storage=BUCKET)) if ends & {way.source, way.target}} - usual
    assert {way.ports for way in more} == {traffic.tcp(7946, 9095), traffic.DNS, traffic.tcp(9000)}
    assert {way.source for way in more} == {LOKI}


@pytest.mark.parametrize(
    "config",
    [
        {"observability": {"logs": {"enabled": False}}},
        {"observability": {"enabled": False}, "autoscaling": {"enabled": False}},
    ],
)
def test_switched_off_nothing_is_there(config: dict[str, Any]) -> None:
    off = parse({**copy.deepcopy(VALID), **config})
    assert of_logs(manifests(graph(off))) == set()
    assert {"loki", "log-collector"} <= unused(off)
    assert not {LOKI, LOG_COLLECTOR} & set(traffic.workloads(off))
    assert of_logs(build()) >= {"StatefulSet observability/loki", f"DaemonSet {traffic.AGENTS}/log-collector"}
