"""The table of who talks to whom, and the policies made of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from pulumi_kubernetes.networking.v1 import NetworkPolicySpecArgs

from components import traffic
from components.network_policies import DENY, allow, network_policies
from components.settings import Settings
from components.settings.parse import parse
from components.traffic import Addresses, Anybody, Namespace, Pods, ways
from tests.support.settings import with_value


def settings(*changes: tuple[tuple[str | int, ...], Any]) -> Settings:
    config = with_value(("modelStore", "kind"), "nfs")
    for path, value in changes:
        place = config
        for step in path[:-1]:
            place = place.setdefault(str(step), {})
        place[str(path[-1])] = value
    return parse(config)


def reached(found: Settings, source: Pods) -> dict[Any, tuple[int, ...]]:
    return {way.target: tuple(port.number for port in way.ports) for way in ways(found) if way.source == source}


def reaching(found: Settings, target: Pods) -> dict[Any, tuple[int, ...]]:
    return {way.source: tuple(port.number for port in way.ports) for way in ways(found) if way.target == target}


def holds(addresses: Addresses, text: str) -> bool:
    address = IPv4Address(text)
    return any(address in block for block in addresses.blocks) and not any(
        address in block for block in addresses.excluded
    )


def test_chats_take_one_way() -> None:
    found = settings()
    assert reached(found, traffic.WEBUI) == {
        traffic.REDIS_PROXY: (6379,),
        traffic.JAEGER: (4318,),
        traffic.CLUSTER_DNS: (53, 53),
    }
    assert reached(found, traffic.REDIS_PROXY) == {traffic.REDIS: (6379,)}
    assert reaching(found, traffic.TRAEFIK) == {Anybody(): (8000, 8443), traffic.PROMETHEUS: (9100,)}
    assert set(reaching(found, traffic.WEBUI)) == {traffic.TRAEFIK, traffic.PROMETHEUS}


def test_one_redis_hears_the_web_ui_and_says_nothing() -> None:
    found = settings((("redis", "replicas"), 1))
    assert reached(found, traffic.REDIS) == {}
    assert set(reaching(found, traffic.REDIS)) == {traffic.WEBUI}
    assert traffic.REDIS_PROXY not in traffic.workloads(found)


def test_pictures_come_from_the_internet_only_and_only_where_domains_are_named() -> None:
    assert not any(isinstance(target, Addresses) for target in reached(settings(), traffic.WEBUI))
    found = settings((("inference", "allowedMediaDomains"), ["pictures.example.com"]))
    ((target, ports),) = [each for each in reached(found, traffic.WEBUI).items() if isinstance(each[0], Addresses)]
    assert ports == (80, 443)
    assert holds(target, "93.184.215.14")
    for inside in (
        *("169.254.169.254", "127.0.0.1", "10.244.1.7", "10.96.0.1", "192.168.1.11", "172.16.0.1", "100.100.100.200"),
        *("0.0.0.1", "224.0.0.1", "255.255.255.255"),
    ):
        assert not holds(target, inside), inside


def test_a_cluster_on_public_addresses_is_not_the_internet() -> None:
    found = parse(
        with_value(("nodes", 5, "address"), "93.184.215.30")
        | {"inference": {"allowedMediaDomains": ["pictures.example.com"]}}
    )
    (target,) = [target for target in reached(found, traffic.WEBUI) if isinstance(target, Addresses)]
    assert holds(target, "93.184.215.31")
    assert not holds(target, "93.184.215.30")


@pytest.mark.parametrize(
    ("store", "inside", "outside", "port"),
    [
        ({"kind": "nfs"}, "192.168.1.100", "192.168.1.101", 2049),
        (
            {"kind": "s3", "endpoint": "http://192.168.1.50:9000", "bucket": "models"},
            "192.168.1.50",
            "192.168.1.51",
            9000,
        ),
        (
            {"kind": "s3", "endpoint": "https://s3.example.com", "bucket": "models"},
            "192.168.7.7",
            "10.244.1.7",
            443,
        ),
        (
            {"kind": "huggingface", "revision": "a" * 40},
            "93.184.215.14",
            "169.254.169.254",
            443,
        ),
    ],
)
def test_the_models_source(store: dict[str, Any], inside: str, outside: str, port: int) -> None:
    found = settings((("modelStore",), store))
    ((target, ports),) = [
        each for each in reached(found, traffic.MODEL_CACHE).items() if isinstance(each[0], Addresses)
    ]
    assert ports == (port,)
    assert holds(target, inside)
    assert not holds(target, outside)


def test_a_folder_is_no_source_in_the_network() -> None:
    found = settings((("modelStore",), {"kind": "folder", "path": "/srv/models"}))
    assert set(reached(found, traffic.MODEL_CACHE)) == {traffic.MODEL_CACHE, traffic.CLUSTER_DNS}


@pytest.mark.parametrize(
    ("address", "target", "ports"),
    [
        ("http://oauth2-proxy.auth.svc.cluster.local:4180/", Namespace("auth"), ()),
        ("http://oauth2-proxy.auth.svc:4180/", Namespace("auth"), ()),
        ("https://10.0.0.9/check", Addresses((IPv4Network("10.0.0.9/32"),)), (443,)),
    ],
)
def test_the_gateway_asks_the_login_service(address: str, target: Any, ports: tuple[int, ...]) -> None:
    found = settings((("webui", "login"), {"kind": "forwardAuth", "address": address}))
    assert reached(found, traffic.TRAEFIK)[target] == ports
    assert traffic.CLUSTER_DNS in reached(found, traffic.TRAEFIK)


def test_nobody_may_reach_what_no_row_names() -> None:
    spec: NetworkPolicySpecArgs = allow(traffic.GPU_PLUGIN, ways(settings()))
    assert (spec.ingress, spec.egress, spec.policy_types) == ([], [], ["Ingress", "Egress"])


def test_every_namespace_of_ours_denies_and_others_do_not() -> None:
    found = network_policies(settings(), traffic.DEFAULT, traffic.SYSTEM, traffic.METRICS)
    assert {namespace: DENY in specs for namespace, specs in found.items()} == {
        traffic.DEFAULT: True,
        traffic.SYSTEM: False,
        traffic.METRICS: True,
    }


def test_the_setting_takes_all_of_them_away() -> None:
    assert network_policies(settings((("kubernetes", "networkPolicies"), False)), traffic.DEFAULT) == {}
