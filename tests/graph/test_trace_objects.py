"""Who is told about spans, in the objects: gateway, web UI and engine by name, and the Jaeger that they name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from components import traffic
from components.network_policies import network_policies
from components.observability.scanned_images import unused
from components.settings.parse import parse
from components.traffic import GRAFANA, JAEGER, PROMETHEUS, TRAEFIK, WEBUI, Way
from tests.support.manifests import Manifest, graph, manifests
from tests.support.settings import VALID

OURS = "http://jaeger.observability.svc.cluster.local:4318/v1/traces"


def build(**traces: Any) -> list[Manifest]:
    return manifests(graph(settings(**traces)))


def settings(**traces: Any) -> Any:
    return parse({**copy.deepcopy(VALID), "observability": {"traces": traces}})


def containers(objects: list[Manifest]) -> dict[str, dict[str, Any]]:
    """By name: of gateway, replica and Jaeger, where there is one."""
    pods = [
        each.pod["spec"]
        for each in objects
        if each.kind == "Deployment" and each.name in ("traefik", "qwen3-vl-webui", "jaeger")
    ]
    return {each["name"]: each for pod in pods for each in (*pod["containers"], *pod.get("initContainers", ()))}


def told(objects: list[Manifest]) -> dict[str, str]:
    """Where each container sends its spans."""
    flags = {
        name: [arg.partition("=")[2] for arg in each.get("args", []) if "otlp" in arg]
        for name, each in containers(objects).items()
    }
    return {name: found[0] for name, found in flags.items() if found}


def test_all_hops_tell_the_same_jaeger() -> None:
    objects = build()
    assert told(objects) == {"traefik": OURS, "webui": OURS, "engine": OURS}
    (service,) = [each for each in objects if each.kind == "Service" and each.name == "jaeger"]
    served = {each["name"]: each["port"] for each in service.body["spec"]["ports"]}
    assert served == {"otlp-http": 4318, "query": 16686}
    listed = {each["name"]: each["containerPort"] for each in containers(objects)["jaeger"]["ports"]}
    assert served.items() <= listed.items()
    assert listed["metrics"] == 8888


def test_only_the_gateway_decides_what_is_followed_and_no_header_is_told() -> None:
    objects = build(samplePercent=2.5)
    args = containers(objects)["traefik"]["args"]
    assert "--tracing.sampleRate=0.025" in args
    assert "--tracing.addInternals=false" in args
    assert not [arg for arg in args if "captured" in arg.lower() or "queryparams" in arg.lower()]
    engine = {each["name"]: each["value"] for each in containers(objects)["engine"]["env"]}
    assert engine["OTEL_TRACES_SAMPLER"] == "parentbased_always_off"
    assert engine["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"


def test_what_is_kept_is_bounded() -> None:
    objects = build(retentionHours=5, diskMib=700, memoryMib=300)
    (pod,) = [each.pod["spec"] for each in objects if each.kind == "Deployment" and each.name == "jaeger"]
    sizes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each}
    assert sizes["data"] == "700Mi"
    assert containers(objects)["jaeger"]["resources"]["limits"]["memory"] == "300Mi"
    (text,) = [
        each.body["data"]["config.yaml"]
        for each in objects
        if each.kind == "ConfigMap" and "badger" in (each.body.get("data") or {}).get("config.yaml", "")
    ]
    storage = yaml.safe_load(text)["extensions"]["jaeger_storage"]["backends"]["badger"]["badger"]
    assert storage["ttl"] == {"spans": "5h"}
    assert storage["directories"]["keys"].startswith("/badger")


def test_the_engine_alone_can_be_left_out() -> None:
    objects = build(engineSpans=False)
    assert set(told(objects)) == {"traefik", "webui"}
    assert not [each for each in containers(objects)["engine"]["env"] if each["name"].startswith("OTEL_")]


def test_switched_off_nothing_is_left_of_it() -> None:
    objects = build(enabled=False)
    assert told(objects) == {}
    assert "jaeger" not in containers(objects)
    assert not [arg for arg in containers(objects)["traefik"]["args"] if "tracing" in arg]
    assert "jaeger" in unused(settings(enabled=False))
    assert JAEGER not in traffic.workloads(settings(enabled=False))


@pytest.mark.parametrize("url", ["http://10.9.9.9:4318", "http://10.9.9.9:4318/"])
def test_a_collector_elsewhere_takes_the_place_of_jaeger(url: str) -> None:
    objects = build(otlpEndpoint=url)
    assert set(told(objects).values()) == {"http://10.9.9.9:4318/v1/traces"}
    assert "jaeger" not in containers(objects)
    assert "jaeger" in unused(settings(otlpEndpoint=url))
    to = [way for way in traffic.ways(settings(otlpEndpoint=url)) if way.ports == traffic.tcp(4318)]
    assert {way.source for way in to} == {TRAEFIK, WEBUI}


def test_the_ways_of_spans_are_open_and_no_others() -> None:
    ways = [way for way in traffic.ways(settings()) if JAEGER in (way.source, way.target)]
    assert set(ways) == {
        Way(TRAEFIK, JAEGER, traffic.tcp(4318)),
        Way(WEBUI, JAEGER, traffic.tcp(4318)),
        Way(PROMETHEUS, JAEGER, traffic.tcp(8888)),
        Way(GRAFANA, JAEGER, traffic.tcp(16686)),
    }
    assert not network_policies(settings(), traffic.METRICS)[traffic.METRICS]["jaeger"].egress
