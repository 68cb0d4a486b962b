"""No limit on the way of a request is below three times the peak of the headline load, unless somebody set it so.

The headline is a million requests a day: 12 a second on average, 35 at the peak. Walked here are the production stack's
objects as they are applied, and the web UI as it is started by them: body sizes, requests in
flight, connections, queues, workers.
Bounds that only slow down somebody who guesses passwords are not in the way of a request.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from typing import Any

import pytest

pytest.importorskip("gradio")

from chat_webui.api_keys import parse_api_keys
from chat_webui.environment import prepare_environment
from chat_webui.history_store import connect
from chat_webui.settings import Settings, parse_settings

from components.credentials import key_digests
from components.inference.access import api_keys_file
from components.inference.bodies import TOO_LARGE
from components.settings.stack_file import stack_settings
from tests.support.manifests import Manifest, manifests, stack_graph

PER_SECOND = 3 * 35
SECONDS = 1.2
"""Mean time of an answer that the headline promises."""
BODY = 300 * 1024 * 4 // 3
"""A 300 KB image in base64."""
MIB = 1024 * 1024
LIMITING = ("inFlightReq", "rateLimit", "buffering", "circuitBreaker", "inFlightConn")
"""Traefik's middlewares that refuse or hold back requests."""
UNLIMITED = 0


@pytest.fixture(scope="module")
def objects() -> list[Manifest]:
    return manifests(stack_graph("prod"))


def one(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [each for each in objects if (each.kind, each.name) == (kind, name)]
    return found


def container(objects: list[Manifest], name: str) -> dict[str, Any]:
    deployment = one(objects, "Deployment", "qwen3-vl-webui")
    return next(each for each in deployment.containers() if each["name"] == name)


@pytest.fixture(scope="module")
def in_flight() -> float:
    """Requests in flight in one replica, of the number the production stack begins with."""
    return PER_SECOND * SECONDS / stack_settings("prod").inference.replicas


@pytest.fixture(scope="module")
def settings(objects: list[Manifest]) -> Settings:
    """The web UI's settings as the Deployment starts it."""
    return parse_settings([str(each) for each in container(objects, "webui")["args"]], {})


def test_traefik_refuses_only_what_is_no_headline_load(objects: list[Manifest]) -> None:
    """One Traefik, and one client address, may carry the whole load; only a body above the limit for all is held back."""
    traefik = next(one(objects, "Deployment", "traefik").containers())
    limits = [flag for flag in traefik["args"] if re.search(r"max|limit|concurren|queue", flag.partition("=")[0], re.I)]
    assert {flag.partition(".http.")[2].partition("=")[0] for flag in limits} == {"maxHeaderBytes"}, "a new limit"
    route = one(objects, "IngressRoute", "qwen3-vl-ingress")
    passed = {each["match"]: [named["name"] for named in each.get("middlewares", [])] for each in route.spec["routes"]}
    (headline,) = [names for match, names in passed.items() if "{5,6}$" in match]
    assert len(str(BODY)) == 6
    for middleware in objects:
        if middleware.kind != "Middleware" or not set(LIMITING) & set(middleware.spec):
            continue
        if middleware.name in headline:
            assert middleware.spec["inFlightReq"]["amount"] >= PER_SECOND * SECONDS, middleware.where
        users = [match for match, names in passed.items() if middleware.name in names]
        assert users, middleware.where
        if "buffering" in middleware.spec:
            assert middleware.name == TOO_LARGE
            (match,) = users
            ((length),) = re.findall(r"`Content-Length`, `([^`]*)`", match)
            assert not re.search(length, str(middleware.spec["buffering"]["maxRequestBodyBytes"]))


def test_bodies_are_as_large_everywhere_and_large_enough(objects: list[Manifest], settings: Settings) -> None:
    accepted = one(objects, "TraefikService", "qwen3-vl-backend").spec["failover"]["errors"]["maxRequestBodyBytes"]
    assert accepted == settings.max_body
    assert settings.max_body >= 3 * settings.max_images * BODY
    memory = stack_settings("prod").ingress.memory_mib * MIB
    assert memory / 2 > PER_SECOND * SECONDS * BODY, "one Traefik keeps all bodies in flight while the other is gone"


def test_the_web_ui_takes_enough_at_once(settings: Settings, in_flight: float) -> None:
    assert settings.max_chats >= in_flight
    assert settings.max_api_requests >= in_flight
    assert settings.upload_quota >= in_flight * BODY


def test_one_key_may_carry_the_whole_load(objects: list[Manifest], in_flight: float) -> None:
    webui = stack_settings("prod").webui
    digests = key_digests("qwen3-vl", '{"one": "0123456789abcdef01234567"}', [])
    (key,) = parse_api_keys(api_keys_file(webui, digests).encode()).values()
    assert key.in_flight >= in_flight
    assert key.per_minute is None or key.per_minute >= 60 * PER_SECOND


def test_connections_are_not_what_runs_out(objects: list[Manifest], settings: Settings, in_flight: float) -> None:
    traefik = next(one(objects, "Deployment", "traefik").containers())["args"]
    flag = "--serversTransport.forwardingTimeouts.idleConnTimeout="
    (kept,) = [int(each.removeprefix(flag).removesuffix("s")) for each in traefik if each.startswith(flag)]
    os.environ.setdefault("GRADIO_TEMP_DIR", tempfile.gettempdir())
    prepare_environment()
    from chat_webui.server import Service, server_config

    async def walk() -> None:
        service = Service(parse_settings([], {}))
        config = server_config(service.app, settings)
        # The other way round, a request now and then meets a connection that is just being closed.
        assert kept < config.timeout_keep_alive
        assert config.limit_concurrency is None
        assert config.limit_max_requests is None
        assert config.backlog >= PER_SECOND
        connector = service._session.connector
        assert connector is not None
        assert connector.limit == UNLIMITED
        assert connector.limit_per_host == UNLIMITED
        await service._session.close()

    asyncio.run(walk())
    pool = connect(parse_settings([], {})).connection_pool
    assert pool.max_connections >= 2 * in_flight, (
        "a chat holds one connection to Redis, a login or a key's count another"
    )


def test_the_engine_takes_enough_at_once(objects: list[Manifest], in_flight: float) -> None:
    """vLLM's own default is 256 and up; more than that wait in its queue, which has no limit."""
    arguments = [str(each) for each in container(objects, "engine")["args"]]
    sequences = [int(flag.partition("=")[2]) for flag in arguments if flag.startswith("--max-num-seqs=")]
    assert all(each >= in_flight for each in sequences)
