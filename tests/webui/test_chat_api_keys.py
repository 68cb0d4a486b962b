"""`/v1` with keys: who gets in, what a key's limits do, rotation without a restart, and what a refusal looks like."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_processes import MODEL, Engine, Redis, WebUi, fetch

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")

ALICE, BATCH = "sk-alice-0123456789abcdef0123456789", "sk-batch-0123456789abcdef0123456789"


def entry(key: str, in_flight: int = 8, per_minute: int | None = None) -> dict[str, Any]:
    limits = {"requestsInFlight": in_flight, "requestsPerMinute": per_minute}
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), **limits}


def replace(path: Path, keys: dict[str, Any]) -> None:
    """As the kubelet does: another file under the same name."""
    (path.parent / "new").write_text(json.dumps(keys))
    os.replace(path.parent / "new", path)


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(time_scale=0) as process:
        fetch(f"{process.url}/v1/chat/completions", question(), {"content-type": "application/json"})
        yield process


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "api-keys.json"
    replace(path, {"alice": entry(ALICE), "batch": entry(BATCH, in_flight=2, per_minute=5)})
    return path


@pytest.fixture(scope="module")
def webui(engine: Engine, redis: Redis, keys_file: Path) -> Iterator[WebUi]:
    with WebUi(engine, redis.port, flags=("--api-keys-file", str(keys_file))) as process:
        process.wait_ready()
        yield process


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


def question(text: str = "hi") -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}]}).encode()


def error_of(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)["error"]
    assert found.keys() == {"message", "type", "param", "code"}
    return found


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {ALICE}"},
        {"authorization": ALICE},
        {"authorization": f"Bearer {ALICE[:-1]}"},
        {"authorization": "Bearer \u00fc\u00ff"},
        {"authorization": f"Bearer {hashlib.sha256(ALICE.encode()).hexdigest()}"},
        {"cookie": "qwen3vl_user=" + "a" * 32},
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
def test_without_a_key_nothing_reaches_the_engine(
    webui: WebUi, engine: Engine, path: str, headers: dict[str, str]
) -> None:
    before = engine.metric("vllm:request_success_total")
    connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=10)
    connection.request("GET" if path.endswith("models") else "POST", path, question(), headers)
    response = connection.getresponse()
    error = error_of(response.read())
    connection.close()
    assert response.status == 401
    assert response.getheader("www-authenticate") == "Bearer"
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert engine.metric("vllm:request_success_total") == before


def test_with_a_key(webui: WebUi) -> None:
    status, body = fetch(f"{webui.url}/v1/chat/completions", question(), bearer(ALICE))
    assert status == 200
    assert json.loads(body)["choices"]
    assert fetch(f"{webui.url}/v1/models", headers=bearer(ALICE))[0] == 200
    assert webui.metric('webui_api_key_requests_total{code="200",key="alice"}') >= 2


def test_the_page_and_the_probes_need_no_key(webui: WebUi) -> None:
    assert fetch(f"{webui.url}/")[0] == 200
    assert fetch(f"{webui.url}/healthz")[0] == 200
    assert fetch(f"{webui.url}/ready")[0] == 200


def test_a_keys_requests_in_flight_are_its_own(webui: WebUi, engine: Engine) -> None:
    engine.faults(first_token_delay=1.5)
    statuses: list[int] = []

    def call() -> None:
        statuses.append(fetch(f"{webui.url}/v1/chat/completions", question(), bearer(BATCH))[0])

    try:
        calls = [threading.Thread(target=call) for _ in range(3)]
        for each in calls:
            each.start()
        deadline = time.monotonic() + 10
        while not statuses and time.monotonic() < deadline:
            time.sleep(0.02)
        assert statuses == [429], "the third is refused while two are at the engine"
        assert fetch(f"{webui.url}/v1/models", headers=bearer(ALICE))[0] == 200, "another key is not concerned"
        for each in calls:
            each.join()
    finally:
        engine.faults()
    assert sorted(statuses) == [200, 200, 429]
    assert webui.metric('webui_api_key_requests_in_flight{key="batch"}') == 0


def test_a_keys_requests_of_a_minute_are_counted_in_all_replicas(
    webui: WebUi, engine: Engine, redis: Redis, keys_file: Path
) -> None:
    """Six in a row over two replicas; only if the minute ends between them, eleven are needed."""
    with WebUi(engine, redis.port, flags=("--api-keys-file", str(keys_file))) as other:
        other.wait_ready()
        answers = []
        for number in range(11):
            target = webui if number % 2 else other
            answers.append(fetch(f"{target.url}/v1/models", headers=bearer(BATCH)))
            if answers[-1][0] == 429:
                break
        status, body = answers[-1]
        assert status == 429
        assert (error_of(body)["type"], error_of(body)["code"]) == ("requests", "rate_limit_exceeded")
        assert "batch" in error_of(body)["message"]


def test_the_limit_of_a_minute_holds_without_redis(engine: Engine, keys_file: Path) -> None:
    with Redis() as own, WebUi(engine, own.port, flags=("--api-keys-file", str(keys_file))) as webui:
        webui.wait_ready()
        own.kill()
        statuses = [fetch(f"{webui.url}/v1/models", headers=bearer(BATCH))[0] for _ in range(11)]
        assert statuses[0] == 200
        assert 429 in statuses


def test_keys_change_without_a_restart(engine: Engine, redis: Redis, tmp_path: Path) -> None:
    path = tmp_path / "api-keys.json"
    replace(path, {"old": entry(ALICE)})
    with WebUi(engine, redis.port, flags=("--api-keys-file", str(path))) as webui:
        webui.wait_ready()

        def statuses() -> tuple[int, int]:
            found = [fetch(f"{webui.url}/v1/models", headers=bearer(key))[0] for key in (ALICE, BATCH)]
            return found[0], found[1]

        assert statuses() == (200, 401)
        replace(path, {"old": entry(ALICE), "new": entry(BATCH)})
        deadline = time.monotonic() + 10
        while statuses() != (200, 200) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert statuses() == (200, 200), "both, while the client changes"
        replace(path, {"new": entry(BATCH)})
        deadline = time.monotonic() + 10
        while statuses() != (401, 200) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert statuses() == (401, 200)
        path.write_text("{ broken")
        time.sleep(1.5)
        assert statuses() == (401, 200), "a file that cannot be read locks nobody out"
        replace(path, {})
        deadline = time.monotonic() + 10
        while statuses() != (401, 401) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert statuses() == (401, 401), "no key, no access"


def test_an_image_limit_is_told_before_the_engine_works(webui: WebUi, engine: Engine) -> None:
    before = engine.metric("vllm:request_success_total")
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}] * 5
    for content in (parts, [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]):
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": content}]}).encode()
        status, said = fetch(f"{webui.url}/v1/chat/completions", body, bearer(ALICE))
        assert status == 400, said
        assert error_of(said)["code"] == "image_limit"
    assert engine.metric("vllm:request_success_total") == before
    assert webui.metric("webui_requests_in_flight") == 0


def test_a_compressed_body_could_hide_anything(webui: WebUi) -> None:
    headers = bearer(ALICE) | {"content-encoding": "gzip"}
    assert fetch(f"{webui.url}/v1/chat/completions", question(), headers)[0] == 415


def test_no_key_is_logged(webui: WebUi) -> None:
    fetch(f"{webui.url}/v1/models", headers=bearer(ALICE))
    fetch(f"{webui.url}/v1/models", headers=bearer("sk-somebody-elses-key"))
    lines = [json.loads(line) for line in webui.output().splitlines()]
    assert any(line.get("key") == "alice" for line in lines)
    for secret in (ALICE, BATCH, "sk-somebody-elses-key", hashlib.sha256(ALICE.encode()).hexdigest()):
        assert secret not in webui.output()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{ broken", "not a mapping"),
        ('{"alice": {"sha256": "abc", "requestsInFlight": 1}}', "SHA-256"),
        ('{"alice": {"sha256": "' + "a" * 64 + '"}}', "not a mapping"),
        ('{"Alice!": {"sha256": "' + "a" * 64 + '", "requestsInFlight": 1}}', "name"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_start(
    engine: Engine, redis: Redis, tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "api-keys.json"
    if content is not None:
        path.write_text(content)
    webui = WebUi(engine, redis.port, flags=("--api-keys-file", str(path)))
    with pytest.raises(AssertionError, match="did not start") as failed, webui:
        pass
    assert f"--api-keys-file: {path}" in str(failed.value)
    assert said in str(failed.value)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", webui.port)) != 0
