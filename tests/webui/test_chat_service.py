"""Web UI, stand-in and a real Redis as processes: API pass-through, limits, readiness, history, shutdown."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.chat_processes import ASKED_WITH, MODEL, Engine, Redis, WebUi, fetch, png

pytestmark = pytest.mark.skipif(
    subprocess.run(["which", "redis-server"], capture_output=True, check=False).returncode != 0,
    reason="needs redis-server",
)


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis(password="test-password") as server:
        yield server


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[Engine]:
    with Engine(flags=("--limit-mm-per-prompt", '{"image": 4}')) as process:
        yield process


@pytest.fixture(scope="module")
def webui(shared_engine: Engine, redis: Redis) -> Iterator[WebUi]:
    with WebUi(shared_engine, redis.port, env={"REDIS_PASSWORD": "test-password"}) as process:
        process.wait_ready()
        yield process


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """Without faults at the end of each test."""
    yield shared_engine
    shared_engine.faults()


def question(text: str = "hello", images: tuple[bytes, ...] = (), **more: object) -> bytes:
    urls = [f"data:image/png;base64,{base64.b64encode(image).decode()}" for image in images]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content = [*parts, {"type": "text", "text": text}]
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": content}], **more}).encode()


def test_an_api_client_gets_the_engines_answer_through_the_web_ui(webui: WebUi) -> None:
    image = png(320, 200, (20, 160, 40))
    status, body = fetch(f"{webui.url}/v1/chat/completions", question("what is it", (image,)))
    assert status == 200
    answer = json.loads(body)
    said = answer["choices"][0]["message"]["content"]
    assert f"320x200, mean colour green, sha256 {hashlib.sha256(image).hexdigest()[:12]}" in said
    assert answer["usage"]["completion_tokens"] == len(said.split())
    assert json.loads(fetch(f"{webui.url}/v1/models")[1])["data"][0]["owned_by"] == "lab-stand-in"


def test_a_stream_arrives_piece_by_piece(webui: WebUi) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=20)
    body = question("one two three", stream=True, stream_options={"include_usage": True})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    arrivals: list[float] = []
    words: list[str] = []
    lines: list[bytes] = []
    while line := response.readline():
        if line.startswith(b"data: {"):
            lines.append(line)
            event = json.loads(line[6:])
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                words.append(event["choices"][0]["delta"]["content"])
                arrivals.append(time.monotonic())
    connection.close()
    assert "".join(words).endswith('3 word(s): "one two three"')
    # 8 ms a token by the stand-in's clock: an answer that was collected first would arrive within one moment.
    assert arrivals[-1] - arrivals[0] > 0.7 * 0.008 * (len(words) - 1)
    assert json.loads(lines[-1][6:])["usage"]["completion_tokens"] == len(words)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../metrics",
        "/v1/%2e%2e/metrics",
        "/v1/..%2fmetrics",
        "/v1/.%2e/lab/faults",
        "/v1//metrics",
        "/v1/",
        "/v1",
        "/v1/load_lora_adapter",
        "/v1/chat/completions/../../../lab/faults",
    ],
)
def test_nothing_but_v1_reaches_the_engine(webui: WebUi, engine: Engine, path: str) -> None:
    with socket.create_connection(("127.0.0.1", webui.port), timeout=10) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        reply = b""
        while chunk := raw.recv(65536):
            reply += chunk
    assert b"vllm:" not in reply
    assert b"error_rate" not in reply
    assert reply.split(b" ", 2)[1] in (b"404", b"307", b"405"), reply[:200]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/monitoring"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/proxy=https://huggingface.co"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file=/proc/self/environ"),
        ("GET", "/gradio_api/file={uploads}/../../etc/passwd"),
        ("GET", "/gradio_api/file=https://example.com/x.png"),
        ("POST", "/gradio_api/vibe-edit/"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/call/on_ask"),
        ("POST", "/gradio_api/run/on_ask"),
        ("POST", "/login"),
        ("DELETE", "/"),
        ("POST", "/"),
    ],
)
def test_what_the_page_does_not_need_is_not_there(webui: WebUi, method: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=10)
    connection.request(method, path.format(uploads=webui.uploads), b"{}" if method == "POST" else None)
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == 404


def _say_a_file(webui: WebUi, path: str) -> str:
    """Asks with the name of a file that was never uploaded; the events that came of it."""
    named = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {"data": [{"text": "read it", "files": [named]}, *ASKED_WITH], "fn_index": 1, "session_hash": "abc12345"}
    as_json = {"content-type": "application/json"}
    assert fetch(f"{webui.url}/gradio_api/queue/join", json.dumps(body).encode(), as_json)[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=20)
    connection.request("GET", "/gradio_api/queue/data?session_hash=abc12345")
    events = connection.getresponse().read().decode()
    connection.close()
    return events


@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:{engine}/metrics", "https://[::1]:{engine}/metrics"])
def test_a_file_that_was_not_uploaded_is_not_read(webui: WebUi, engine: Engine, path: str) -> None:
    """Events can be called by hand, with any file name in them."""
    events = _say_a_file(webui, path.format(engine=engine.port))
    assert '"success":false' in events
    assert "root:" not in events
    assert "vllm:" not in events


def test_headers_of_one_hop_the_cookie_and_the_key_stay_here() -> None:
    """A server of the test's own in place of the engine shows what arrives."""
    got: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    reply = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=9\r\nX-Own: yes\r\nConnection: close\r\n\r\nok"
    )

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                request = peer.recv(65536)
                if b"/v1/probe" in request:
                    got.append(request)
                peer.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    fake = Engine(port=listener.getsockname()[1])
    with Redis() as own_redis, WebUi(fake, own_redis.port) as webui:
        connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=10)
        sent = {
            "Cookie": "qwen3vl_user=secret",
            "Connection": "keep-alive, x-this-hop",
            "X-This-Hop": "1",
            "TE": "trailers",
            "Proxy-Authorization": "secret",
            "Authorization": "Bearer key",
            "X-Request-Id": "abc",
            "Content-Type": "text/x-odd",
        }
        connection.request("POST", "/v1/probe?x=%2F&y=a+b", b"{ not json", sent)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"ok")
        assert response.getheader("x-own") == "yes"
        assert response.getheader("keep-alive") is None
    listener.close()
    head, _, body = got[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    names = {line.partition(":")[0] for line in lines[1:]}
    assert lines[0] == "post /v1/probe?x=%2f&y=a+b http/1.1"
    assert body == b"{ not json"
    assert not names & {"cookie", "authorization", "x-this-hop", "te", "proxy-authorization", "transfer-encoding"}
    assert {"x-request-id: abc", "content-type: text/x-odd", "content-length: 10"} <= set(lines)


def test_errors_of_the_engine_pass_and_a_lost_engine_is_a_502(webui: WebUi, engine: Engine) -> None:
    assert fetch(f"{webui.url}/v1/chat/completions", question(model="no-such-model"))[0] == 404
    assert fetch(f"{webui.url}/v1/chat/completions", b"{")[0] == 400
    engine.faults(error_rate=1)
    assert fetch(f"{webui.url}/v1/chat/completions", question())[0] == 500
    with Redis() as own_redis, WebUi(Engine(), own_redis.port) as lost:  # an engine that was never started
        status, body = fetch(f"{lost.url}/v1/chat/completions", question())
        assert status == 502
        assert "error" in json.loads(body)
        assert fetch(f"{lost.url}/healthz")[0] == 200
        assert fetch(f"{lost.url}/ready")[0] == 503


def test_a_cut_stream_does_not_look_complete(webui: WebUi, engine: Engine) -> None:
    engine.faults(drop_after_tokens=3)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        fetch(f"{webui.url}/v1/chat/completions", question(stream=True))


def test_a_client_that_leaves_ends_the_work_at_the_engine(webui: WebUi, engine: Engine) -> None:
    body = question(stream=True, ignore_eos=True, max_tokens=2000)
    with socket.create_connection(("127.0.0.1", webui.port), timeout=10) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        client.recv(4096)
        assert engine.metric("vllm:num_requests_running") == 1
    deadline = time.monotonic() + 3
    while engine.metric("vllm:num_requests_running") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert engine.metric("vllm:num_requests_running") == 0
    assert webui.metric("webui_requests_in_flight") == 0


def test_bodies_have_a_limit_declared_or_not(webui: WebUi) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=20)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("content-length", str(40 * 1024 * 1024))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 1024 * 1024

    connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=20)
    with contextlib.suppress(ConnectionError):  # the answer may come before the body is over
        connection.request("POST", "/v1/chat/completions", endless(), encode_chunked=True)
    status = connection.getresponse().status
    connection.close()
    assert status == 413


def test_requests_beyond_the_limit_in_flight_are_told_to_come_again(engine: Engine, redis: Redis) -> None:
    flags = ("--max-api-requests", "2")
    with WebUi(engine, redis.port, flags, {"REDIS_PASSWORD": "test-password"}) as webui:
        engine.faults(first_token_delay=1.5)
        statuses: list[int] = []
        asks = [
            threading.Thread(target=lambda: statuses.append(fetch(f"{webui.url}/v1/chat/completions", question())[0]))
            for _ in range(4)
        ]
        for ask in asks:
            ask.start()
        for ask in asks:
            ask.join()
        assert sorted(statuses) == [200, 200, 429, 429]
        assert webui.metric("webui_api_requests_refused_total") == 2


def test_metrics_are_for_the_cluster_only(webui: WebUi) -> None:
    before = (
        webui.metric('webui_http_requests_total{code="200",method="GET",route="/v1/models"}') if _asked(webui) else 0
    )
    fetch(f"{webui.url}/v1/models")
    assert webui.metric('webui_http_requests_total{code="200",method="GET",route="/v1/models"}') == before + 1
    assert webui.metric("webui_ready") == 1
    assert fetch(f"{webui.url}/metrics", headers={"X-Forwarded-For": "203.0.113.9"})[0] == 404


def _asked(webui: WebUi) -> bool:
    return fetch(f"{webui.url}/v1/models")[0] == 200


def test_the_browser_is_told_to_load_nothing_from_elsewhere(webui: WebUi) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=10)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    policy = response.getheader("content-security-policy") or ""
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert response.getheader("server") is None


def test_readiness_follows_the_engine_and_forgives_one_slow_answer(redis: Redis) -> None:
    with Engine(time_scale=0) as own, WebUi(own, redis.port, env={"REDIS_PASSWORD": "test-password"}) as webui:
        webui.wait_ready()
        own.faults(health_delay=3.5)
        time.sleep(4.5)
        own.faults()
        assert webui.ready(), "one slow health check must not take the replica out"
        own.signal(signal.SIGKILL)
        own.wait()
        assert webui.wait_ready(False, within=10) < 6
        assert fetch(f"{webui.url}/healthz")[0] == 200
        with Engine(time_scale=0, port=own.port):
            assert webui.wait_ready(within=15) < 8


def test_a_wrong_password_keeps_a_new_replica_out(engine: Engine, redis: Redis) -> None:
    with WebUi(engine, redis.port, env={"REDIS_PASSWORD": "wrong-canary"}) as webui:
        time.sleep(3)
        status, body = fetch(f"{webui.url}/ready")
        assert status == 503
        assert json.loads(body) == {"ready": False, "engine": "up", "redis": "down", "draining": False}
        assert "wrong-canary" not in webui.output()
        assert "wrong-canary" not in body.decode()


@pytest.mark.parametrize(("gate", "ready"), [("start", True), ("always", False)])
def test_a_redis_outage_counts_as_the_gate_says(engine: Engine, gate: str, ready: bool) -> None:
    with Redis() as own, WebUi(engine, own.port, ("--redis-gate", gate)) as webui:
        webui.wait_ready()
        own.kill()
        deadline = time.monotonic() + 15
        while webui.metric('webui_dependency_up{dependency="redis"}') and time.monotonic() < deadline:
            time.sleep(0.2)
        assert webui.metric('webui_dependency_up{dependency="redis"}') == 0
        assert webui.ready() is ready


def test_sigterm_lets_the_request_in_flight_finish(engine: Engine, redis: Redis) -> None:
    with WebUi(engine, redis.port, env={"REDIS_PASSWORD": "test-password"}) as webui:
        webui.wait_ready()
        engine.faults(first_token_delay=3)
        answers: list[tuple[int, bytes]] = []
        ask = threading.Thread(target=lambda: answers.append(fetch(f"{webui.url}/v1/chat/completions", question())))
        ask.start()
        time.sleep(0.7)
        webui.signal(signal.SIGTERM)
        webui.wait_ready(False, within=2)
        assert fetch(f"{webui.url}/healthz")[0] == 200, "alive while it drains"
        assert webui.wait(20) == 0
        ask.join(5)
        assert answers[0][0] == 200
        assert b"hello" in answers[0][1]


def test_sigterm_ends_after_the_drain_timeout(engine: Engine, redis: Redis) -> None:
    flags = ("--drain-timeout", "1")
    with WebUi(engine, redis.port, flags, {"REDIS_PASSWORD": "test-password"}) as webui:
        webui.wait_ready()
        engine.faults(hang=True)

        statuses: list[int] = []

        def ask_in_vain() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                statuses.append(fetch(f"{webui.url}/v1/chat/completions", question(), within=30)[0])

        ask = threading.Thread(target=ask_in_vain)
        ask.start()
        time.sleep(0.5)
        webui.signal(signal.SIGTERM)
        webui.wait(25)  # an engine that hangs would be waited for ten minutes
        ask.join(5)
        assert 200 not in statuses


def test_logs_are_json_without_content(webui: WebUi, engine: Engine) -> None:
    _say_a_file(webui, "/canary-in-a-path")
    fetch(f"{webui.url}/v1/chat/completions?marker=1", question("canary-in-the-question"))
    deadline = time.monotonic() + 5
    lines: list[dict[str, object]] = []
    while time.monotonic() < deadline and not lines:
        parsed = [json.loads(line) for line in webui.output().splitlines()]
        lines = [line for line in parsed if line.get("route") == "/v1/chat/completions"]
    assert {"time", "level", "method", "status", "ms", "bytes"} <= set(lines[-1])
    assert "canary-in-the-question" not in webui.output()
    printed = [line for line in parsed if line["logger"] == "stderr"]
    assert printed
    assert {"why", "places"} <= set(printed[-1]), "an error that Gradio prints is told without its message"
    assert "canary-in-a-path" not in webui.output()
    assert "test-password" not in webui.output()
