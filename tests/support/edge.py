"""The web UI behind the gateway as users find it: with a login and a key; and a client that does nothing wrong."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from tests.support.bad_requests import CHAT, HOST, KEY, saying
from tests.support.chat_processes import Engine, Redis, WebUi
from tests.support.traefik import Traefik

PASSWORD = "correct horse battery"
ANOTHER = "127.0.0.2"
"""Address of the client that does nothing wrong."""


@contextmanager
def guarded_webui(engine: Engine, folder: Path) -> Iterator[WebUi]:
    from chat_webui.passwords import hash_password  # found by tests/webui/conftest.py

    keys, users = folder / "keys.json", folder / "users.json"
    limits = {"requestsInFlight": 256, "requestsPerMinute": None}
    keys.write_text(json.dumps({"tests": {"sha256": hashlib.sha256(KEY.encode()).hexdigest(), **limits}}))
    users.write_text(json.dumps({"alice": hash_password(PASSWORD)}))
    flags = ("--api-keys-file", str(keys), "--login", "password", "--users-file", str(users))
    with Redis() as redis, WebUi(engine, redis.port, flags=flags) as process:
        process.wait_ready()
        yield process


def session_of(gateway: Traefik) -> bytes:
    """A cookie of somebody who has logged in."""
    form = urlencode({"name": "alice", "password": PASSWORD})
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request("POST", "/login", form, {"Host": HOST, "Content-Type": "application/x-www-form-urlencoded"})
    response = connection.getresponse()
    assert response.status == 303
    cookie = next(value for name, value in response.getheaders() if name == "Set-Cookie" and "session" in value)
    connection.close()
    return cookie.partition(";")[0].encode()


def answer(gateway: Traefik, **more: object) -> bytes:
    """To a question of the client who does nothing wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10, source_address=(ANOTHER, 0))
    headers = {"Host": HOST, "Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", CHAT, json.dumps(saying(**more)), headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, body
    return body


def ask(gateway: Traefik, **more: object) -> str:
    return str(json.loads(answer(gateway, **more))["choices"][0]["message"]["content"])
