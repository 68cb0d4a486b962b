"""Who is who: the built-in login, the session, and the name that the gateway's authentication service found."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest
from chat_webui.login import SESSION, WINDOW, Session, opened, sealed
from chat_webui.passwords import hash_password, verify_password
from chat_webui.user_ids import USER_ID, user_id_for

from tests.support.chat_processes import ASKED_WITH, Engine, Redis, WebUi, fetch

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")

ALICE, BOB = "correct horse battery", "an other staple 漢字"
TOKEN = "token-of-the-gateway-5a1b"


@dataclass
class Client:
    """A browser's side of HTTP: it keeps cookies and says where a form was sent from."""

    webui: WebUi
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.webui.port, timeout=20)
        cookie = (
            {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        )
        sent = {name.replace("_", "-"): value for name, value in (self.headers | headers).items()}
        connection.request(method, path, body, cookie | sent)
        response = connection.getresponse()
        content = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        connection.close()
        for name, morsel in SimpleCookie(found.get("set-cookie", "")).items():
            self.cookies[name] = morsel.value
            if morsel["max-age"] == "0":
                del self.cookies[name]
        return response.status, found, content

    def log_in(self, name: str, password: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        form = urlencode({"name": name, "password": password})
        return self.ask("POST", "/login", form, content_type="application/x-www-form-urlencoded", **headers)

    def name(self) -> str | None:
        status, _, body = self.ask("GET", "/account")
        return str(json.loads(body)["name"]) if status == 200 else None


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(time_scale=0) as process:
        yield process


def users_file(folder: Path, **passwords: str) -> Path:
    path = folder / "users.json"
    path.write_text(json.dumps({name: hash_password(password) for name, password in passwords.items()}))
    return path


@pytest.fixture(scope="module")
def webui(engine: Engine, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    users = users_file(tmp_path_factory.mktemp("users"), alice=ALICE, bob=BOB)
    with WebUi(engine, redis.port, flags=("--login", "password", "--users-file", str(users))) as process:
        process.wait_ready()
        yield process


def test_a_password_is_verified_against_its_own_hash_only() -> None:
    stored = hash_password(ALICE)
    assert verify_password(ALICE, stored)
    assert not verify_password(ALICE + " ", stored)
    assert stored != hash_password(ALICE), "a salt of its own each time"
    for broken in ("", "x", stored[:-1], stored.replace("n=32768", "n=999999"), stored.replace("n=32768", "n=12345")):
        assert not verify_password(ALICE, broken)


def test_a_session_opens_only_as_it_was_sealed() -> None:
    stored = {"alice": hash_password(ALICE), "bob": hash_password(BOB)}
    session = Session("alice", int(time.time()) + 60, "id")
    value = sealed(session, stored["alice"])
    assert opened(value, stored, time.time()) == session
    assert opened(value, stored, time.time() + 61) is None
    assert opened(value, {"bob": stored["bob"]}, time.time()) is None, "the user was removed"
    assert opened(value, stored | {"alice": hash_password(ALICE)}, time.time()) is None, "the password was set anew"
    name, expires, identity, proof = value.split(".")
    other = sealed(Session("bob", session.expires, "id"), stored["bob"]).split(".")[0]
    later = str(session.expires + 3600)
    for forged in (
        f"{other}.{expires}.{identity}.{proof}",
        f"{name}.{later}.{identity}.{proof}",
        f"{name}.{expires}.xx.{proof}",
        f"{name}.{expires}.{identity}.",
        f"{name}.{expires}.{identity}",
        f"{name}.{expires}.{identity}.{proof[:-1]}",
        f"\u00fc.{expires}.{identity}.{proof}",
        "",
        "...",
    ):
        assert opened(forged, stored, time.time()) is None, forged


def test_an_id_is_the_users_own_whatever_the_name_and_the_kind_of_login() -> None:
    names = ["alice", "bob", "a:b", "*", "x" * 300, "漢字"]
    ids = {user_id_for(kind, name) for name in names for kind in ("password", "forward-auth")}
    assert len(ids) == 2 * len(names)
    assert all(USER_ID.fullmatch(found) for found in ids)
    assert user_id_for("password", "alice") == user_id_for("password", "alice")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/config"),
        ("GET", "/gradio_api/queue/data?session_hash=abc"),
        ("POST", "/gradio_api/queue/join"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/upload"),
        ("GET", "/account"),
        ("POST", "/logout"),
        ("GET", "/gradio_api/file=/x"),
    ],
)
def test_nobody_gets_nothing(webui: WebUi, method: str, path: str) -> None:
    for cookies in ({}, {"qwen3vl_user": "a" * 32}, {SESSION: "YWxpY2U.9999999999.x.0"}):
        status, headers, _ = Client(webui, cookies=cookies).ask(method, path, "{}" if method == "POST" else None)
        assert status == 401
        assert "set-cookie" not in headers


def test_a_browser_is_led_to_the_login_page(webui: WebUi) -> None:
    status, headers, _ = Client(webui).ask("GET", "/")
    assert (status, headers["location"]) == (303, "/login")
    status, headers, body = Client(webui).ask("GET", "/login")
    assert status == 200
    assert b"User name" in body
    assert "script-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "用户名" in Client(webui, {"accept-language": "zh-CN,zh;q=0.9"}).ask("GET", "/login")[2].decode()


def test_in_and_out(webui: WebUi) -> None:
    client = Client(webui)
    status, headers, _ = client.log_in("alice", ALICE)
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} <= {part.strip() for part in cookie.split(";")}
    assert client.name() == "alice"
    assert client.ask("GET", "/login")[1]["location"] == "/"
    page = client.ask("GET", "/")
    assert page[0] == 200
    assert b"/account.js" in page[2]
    stolen = Client(webui, cookies=dict(client.cookies))
    assert stolen.name() == "alice"
    status, headers, _ = client.ask("POST", "/logout")
    assert (status, headers["location"]) == (303, "/login")
    assert client.cookies == {}
    assert client.name() is None
    assert stolen.name() is None, "the session ended, not only the browser's copy of its cookie"


def test_behind_https_the_session_is_secure(webui: WebUi) -> None:
    assert "; Secure" in Client(webui).log_in("bob", BOB, x_forwarded_proto="https")[1]["set-cookie"]


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", BOB), ("alice", ""), ("nobody", ALICE), ("", ALICE), ("alice", "x" * 300), ("alice'--", ALICE)],
)
def test_a_wrong_login_tells_nothing(webui: WebUi, name: str, password: str) -> None:
    client = Client(webui)
    status, _, body = client.log_in(name, password, x_forwarded_for=f"192.0.2.{len(name) + len(password) % 200}")
    assert status == 401
    assert b"User name or password is wrong." in body
    assert client.cookies == {}
    assert name.encode() not in body or not name or name == "alice"


def test_a_form_that_is_too_large_or_no_form(webui: WebUi) -> None:
    client = Client(webui)
    for body in ("name=alice&password=" + "x" * 5000, "\xff\xfe", "a=1&" * 50, ""):
        assert client.ask("POST", "/login", body, x_forwarded_for="192.0.2.250")[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "null"},
    ],
)
def test_another_sites_page_cannot_log_in_or_out(webui: WebUi, headers: dict[str, str]) -> None:
    client = Client(webui)
    assert client.log_in("alice", ALICE, **headers)[0] == 403
    assert client.log_in("alice", ALICE, origin=webui.url)[0] == 303
    assert client.ask("POST", "/logout", **headers)[0] == 403
    assert client.ask("POST", "/gradio_api/queue/join", "{}", **headers)[0] == 403
    assert client.name() == "alice"


def test_guessing_is_slowed_down_for_one_name_and_address(engine: Engine, tmp_path: Path) -> None:
    """Eleven in one window; only if a window ends among them, more are needed."""
    users = users_file(tmp_path, alice=ALICE)
    with Redis() as own, WebUi(engine, own.port, flags=("--login", "password", "--users-file", str(users))) as webui:
        webui.wait_ready()
        here = Client(webui, {"x-forwarded-for": "192.0.2.1"})
        statuses = []
        for _ in range(21):
            status, headers, _ = here.log_in("alice", "wrong wrong")
            statuses.append(status)
            if status == 429:
                break
        assert statuses[:10] == [401] * 10
        assert statuses[-1] == 429
        assert headers["retry-after"] == str(WINDOW)
        assert here.log_in("alice", ALICE)[0] == 429, "the right password is not looked at either"
        elsewhere = Client(webui, {"x-forwarded-for": "192.0.2.2"})
        assert elsewhere.log_in("alice", ALICE)[0] == 303, "another address is not locked out"
        own.kill()
        assert elsewhere.name() == "alice", "an outage of Redis logs nobody out"
        assert Client(webui, {"x-forwarded-for": "192.0.2.3"}).log_in("alice", ALICE)[0] == 303
    for secret in ("wrong wrong", ALICE, json.loads(users.read_text())["alice"]):
        assert secret not in webui.output()


def test_a_removed_user_is_out_at_once(engine: Engine, redis: Redis, tmp_path: Path) -> None:
    users = users_file(tmp_path, alice=ALICE, bob=BOB)
    with WebUi(engine, redis.port, flags=("--login", "password", "--users-file", str(users))) as webui:
        webui.wait_ready()
        alice, bob = Client(webui), Client(webui)
        assert alice.log_in("alice", ALICE)[0] == bob.log_in("bob", BOB)[0] == 303
        users.write_text(json.dumps({"bob": json.loads(users.read_text())["bob"]}))
        deadline = time.monotonic() + 10
        while alice.name() is not None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (alice.name(), bob.name()) == (None, "bob")


def _ask(client: Client, text: str, session: str) -> str:
    """One question through the page's own events; what came back."""
    body = json.dumps({"data": [{"text": text, "files": []}, *ASKED_WITH], "fn_index": 1, "session_hash": session})
    assert client.ask("POST", "/gradio_api/queue/join", body, content_type="application/json")[0] == 200
    return client.ask("GET", f"/gradio_api/queue/data?session_hash={session}")[2].decode()


def _load(client: Client, session: str) -> str:
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": session})
    assert client.ask("POST", "/gradio_api/queue/join", body, content_type="application/json")[0] == 200
    return client.ask("GET", f"/gradio_api/queue/data?session_hash={session}")[2].decode()


@pytest.fixture(scope="module")
def behind_gateway(engine: Engine, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    digest = tmp_path_factory.mktemp("gateway") / "sha256"
    digest.write_text(hashlib.sha256(TOKEN.encode()).hexdigest())
    flags = ("--login", "forward-auth", "--gateway-token-file", str(digest), "--user-header", "X-Auth-Request-Email")
    with WebUi(engine, redis.port, flags=flags) as process:
        process.wait_ready()
        yield process


def through_gateway(webui: WebUi, user: str) -> Client:
    return Client(webui, {"x-qwen3-vl-gateway": TOKEN, "x-auth-request-email": user})


def test_the_gateways_user_is_believed_from_the_gateway_only(behind_gateway: WebUi) -> None:
    assert through_gateway(behind_gateway, "alice@example.com").name() == "alice@example.com"
    for headers in (
        {"x-auth-request-email": "alice@example.com"},
        {"x-auth-request-email": "alice@example.com", "x-qwen3-vl-gateway": ""},
        {"x-auth-request-email": "alice@example.com", "x-qwen3-vl-gateway": TOKEN[:-1]},
        {"x-auth-request-email": "alice", "x-qwen3-vl-gateway": hashlib.sha256(TOKEN.encode()).hexdigest()},
        {"x-qwen3-vl-gateway": TOKEN},
        {"x-qwen3-vl-gateway": TOKEN, "x-auth-request-email": ""},
        {"x-qwen3-vl-gateway": TOKEN, "x-auth-request-email": "x" * 257},
        {"x-qwen3-vl-gateway": TOKEN, "x-auth-request-user": "alice"},
    ):
        client = Client(behind_gateway, headers)
        assert client.name() is None, headers
        assert client.ask("GET", "/")[0] == 401, headers
    assert TOKEN not in behind_gateway.output()


def test_probes_and_v1_need_no_gateway_user(behind_gateway: WebUi) -> None:
    assert fetch(f"{behind_gateway.url}/healthz")[0] == 200
    assert fetch(f"{behind_gateway.url}/v1/models")[0] == 200


def test_there_is_no_login_page_where_nobody_can_use_it(behind_gateway: WebUi) -> None:
    client = through_gateway(behind_gateway, "alice@example.com")
    assert client.ask("GET", "/login")[0] == 404
    assert client.log_in("alice", ALICE)[0] == 404


def test_a_history_is_at_its_users_key_and_nobody_elses(webui: WebUi, behind_gateway: WebUi, redis: Redis) -> None:
    alice, bob = Client(webui), Client(webui)
    assert alice.log_in("alice", ALICE, x_forwarded_for="192.0.2.60")[0] == 303
    assert bob.log_in("bob", BOB, x_forwarded_for="192.0.2.61")[0] == 303
    assert '"success":true' in _ask(alice, "the launch code is 0000", "alicesession")
    for other in (bob, through_gateway(behind_gateway, "alice")):
        shown = _load(other, "othersession")
        assert '"success":true' in shown
        assert "launch code" not in shown
    again = Client(webui)
    assert again.log_in("alice", ALICE, x_forwarded_for="192.0.2.62")[0] == 303
    assert "launch code" in _load(again, "againsession"), "another browser of the same user has the history"
    with socket.create_connection(("127.0.0.1", redis.port)) as raw:
        raw.sendall(b"KEYS chat:*\r\n")
        keys = raw.recv(65536).decode()
    assert f"chat:{user_id_for('password', 'alice')}" in keys
    assert "alice" not in keys.replace(user_id_for("password", "alice"), "")
