"""What the gateway lets in: bodies within its memory, whatever the login and the limits, and clients as the config says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.inference.bodies import client_gates, longer_than, sizes
from components.inference.model import MIB
from components.settings import Inference, Ingress, Settings
from components.settings.checks.edge import largest_body
from components.settings.edge import BODY_SHARES, LARGEST_SHARE, ClientLimits, IngressLimits, counters
from components.settings.stack_file import stack_settings
from components.settings.webui import Login, LoginKind
from tests.support.chat_processes import ROOT
from tests.support.manifests import STACKS, Manifest, graph, manifests, stack_graph

FORWARD_AUTH = Login(kind=LoginKind.FORWARD_AUTH, address="http://auth.example.com/")


def with_login(settings: Settings, login: Login) -> Settings:
    return settings.model_copy(update={"webui": settings.webui.model_copy(update={"login": login})})


def route(objects: list[Manifest]) -> Manifest:
    (found,) = [each for each in objects if each.kind == "IngressRoute"]
    return found


def named(objects: list[Manifest], kind: str) -> dict[str, dict[str, Any]]:
    return {each.name: each.spec for each in objects if each.kind == kind}


@pytest.mark.parametrize("login", [Login(), FORWARD_AUTH], ids=lambda login: login.kind)
@pytest.mark.parametrize("stack", STACKS)
def test_bodies_in_flight_fit_into_the_gateways_memory(stack: str, login: Login) -> None:
    """Each route of each entry point counts by itself, so what they let in is added up."""
    settings = with_login(stack_settings(stack), login)
    assert not list(largest_body(settings)) or login is FORWARD_AUTH, "the checked-in stacks are sound"
    if list(largest_body(settings)):
        settings = settings.model_copy(update={"ingress": settings.ingress.model_copy(update={"memory_mib": 1024})})
    assert not list(largest_body(settings))
    objects = manifests(graph(settings))
    middlewares, backends = named(objects, "Middleware"), named(objects, "TraefikService")
    total = 0
    for rule in route(objects).spec["routes"]:
        passed = [middlewares[each["name"]] for each in rule.get("middlewares", [])]
        if any("buffering" in each for each in passed):
            continue
        limit = backends[rule["services"][0]["name"]]["failover"]["errors"]["maxRequestBodyBytes"]
        amounts = [each["inFlightReq"]["amount"] for each in passed if "inFlightReq" in each]
        if limit == 10 ** min(BODY_SHARES):
            assert not amounts, "small enough for any number"
            continue
        one_address, everybody = amounts
        assert one_address < everybody or everybody == 1
        total += len(route(objects).spec["entryPoints"]) * everybody * limit
    assert total <= settings.ingress.memory_mib * MIB * 3 / 4


@pytest.mark.parametrize("stack", STACKS)
def test_no_limit_of_a_client_that_nobody_asked_for(stack: str) -> None:
    assert not [name for name in named(manifests(stack_graph(stack)), "Middleware") if "client" in name]


@pytest.mark.parametrize("login", [Login(), FORWARD_AUTH], ids=lambda login: login.kind)
def test_limits_of_a_client_come_first_on_every_way_that_leads_anywhere(login: Login) -> None:
    client = ClientLimits(requests_in_flight=8, requests_per_second=5)
    settings = with_login(stack_settings("prod"), login)
    ingress = settings.ingress.model_copy(update={"limits": IngressLimits(client=client)})
    objects = manifests(graph(settings.model_copy(update={"ingress": ingress})))
    middlewares = named(objects, "Middleware")
    assert middlewares["qwen3-vl-client-rate"]["rateLimit"]["average"] == 5
    assert middlewares["qwen3-vl-client-rate"]["rateLimit"]["burst"] == 50
    assert middlewares["qwen3-vl-client-in-flight"]["inFlightReq"]["amount"] == 8
    for rule in route(objects).spec["routes"]:
        first = [each["name"] for each in rule["middlewares"]][:3]
        assert first == ["qwen3-vl-headers", "qwen3-vl-client-rate", "qwen3-vl-client-in-flight"], rule["match"]
    for gate in client_gates(ingress).values():
        (content,) = gate.values()
        # The address the connection comes from: no depth, so nothing that a client writes into X-Forwarded-For counts.
        assert content["sourceCriterion"] == {"ipStrategy": {"ipv6Subnet": 64}}


def test_a_burst_of_its_own() -> None:
    limits = IngressLimits(client=ClientLimits(requests_per_second=5, burst=7))
    (rate,) = client_gates(Ingress(limits=limits)).values()
    assert rate["rateLimit"]["burst"] == 7


@pytest.mark.parametrize("limit", [1, 9, 10, 99, 1000, 33_554_432, 536_870_912])
def test_longer_than(limit: int) -> None:
    (length,) = re.findall(r"`Content-Length`, `([^`]*)`", longer_than(limit))
    around = {number for digit in range(12) for number in range(10**digit - 2, 10**digit + 3)}
    around |= {limit + step for step in range(-12, 13)}
    for number in around:
        if number >= 0:
            assert bool(re.search(length, str(number))) is (number > limit), number


def test_small_limits_need_no_larger_sizes() -> None:
    assert [size.limit for size in sizes(MIB, 1024, counters=1)] == [10**4, 10**6, MIB]
    assert sum(filter(None, BODY_SHARES.values()), LARGEST_SHARE) == 3 / 4


def test_the_page_says_how_many_bodies_there_is_room_for() -> None:
    text = (ROOT / "docs/security.md").read_text()
    ingress = Ingress()
    assert f"with {ingress.memory_mib} MiB" in text
    kept = sizes(
        Inference().max_body_mib * MIB, ingress.memory_mib, counters=counters(Login(), https_only=ingress.tls.on)
    )
    room = [size.at_once for size in kept if size.at_once is not None]
    mine = [size.gates[f"{size.backend}-address"]["inFlightReq"]["amount"] for size in kept if size.at_once is not None]
    said = re.findall(r"^\| [^|]+ \| (\d+) \| (\d+) \|$", text, re.M)
    assert [(int(all_of_them), int(one)) for all_of_them, one in said] == list(zip(room, mine, strict=True))
    assert f"{ingress.limits.request_seconds} s are" in text
