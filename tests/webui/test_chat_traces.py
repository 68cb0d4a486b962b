"""One request is one trace: gateway, web UI, Redis and engine as processes, told to a Jaeger as the product configures it."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from components.settings import Ingress
from components.tracing import Tracing
from tests.support.chat_processes import ASKED_WITH, MODEL, Engine, Redis, WebUi, fetch, free_port
from tests.support.jaeger import Jaeger
from tests.support.traefik import Traefik, product_routes

pytestmark = pytest.mark.skipif(
    subprocess.run(["which", "redis-server"], capture_output=True, check=False).returncode != 0,
    reason="needs redis-server",
)
SECRET = "zebra-prompt-4711"
HOST = Ingress().host
SERVICES = {"traefik", "webui", "engine"}


@pytest.fixture(scope="module")
def jaeger() -> Iterator[Jaeger]:
    with Jaeger() as process:
        yield process


@pytest.fixture(scope="module")
def webui(jaeger: Jaeger, redis: Redis) -> Iterator[WebUi]:
    flag = f"--otlp-traces-endpoint={jaeger.tracing.traces_url}"
    with Engine(time_scale=0, flags=(flag,)) as engine, WebUi(engine, redis.port, flags=(flag,)) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def gateway(jaeger: Jaeger, webui: WebUi) -> Iterator[Traefik]:
    with Traefik(product_routes(webui.url), tracing=jaeger.tracing) as process:
        yield process


def completion(url: str, **headers: str) -> tuple[str, bytes]:
    """Trace and answer of a question by the API."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": SECRET}], "max_tokens": 8, "stream": True}
    said = {"Host": HOST, "Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), said)
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.headers.get("x-trace-id", ""), response.read()


def lines(process: WebUi | Traefik) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]


def spans(trace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By id, with the name of the service and of the span above."""
    found = {each["spanID"]: each for each in trace["spans"]}
    for each in found.values():
        each["service"] = trace["processes"][each["processID"]]["serviceName"]
        above = [ref["spanID"] for ref in each["references"] if ref["refType"] == "CHILD_OF"]
        each["above"] = above[0] if above else None
    return found


def way(found: dict[str, dict[str, Any]], last: dict[str, Any]) -> list[str]:
    """Services from the first span down to this one, each once."""
    names: list[str] = []
    at: dict[str, Any] | None = last
    while at is not None:
        if not names or names[0] != at["service"]:
            names.insert(0, at["service"])
        at = found[at["above"]] if at["above"] else None
    return names


def test_a_request_by_the_api_is_one_trace_down_to_the_engine(jaeger: Jaeger, gateway: Traefik, webui: WebUi) -> None:
    trace_id, answer = completion(gateway.url)
    assert b"[DONE]" in answer
    trace = jaeger.trace(trace_id, SERVICES)
    found = spans(trace)
    of_engine = [each for each in found.values() if each["service"] == "engine"]
    assert [way(found, each) for each in of_engine] == [["traefik", "webui", "engine"]]
    called = found[of_engine[0]["above"]]
    assert called["operationName"] == "engine"
    assert [log["fields"][0]["value"] for log in called["logs"]] == ["first bytes"]
    assert SECRET not in json.dumps(trace)
    said = [line for line in lines(webui) if line["message"] == "request" and line.get("trace_id") == trace_id]
    assert [line["route"] for line in said] == ["/v1/chat/completions"]
    assert [line for line in lines(gateway) if line.get("TraceId") == trace_id], "the gateway's access log names it"


def test_a_duration_names_the_trace_of_a_request_that_took_so_long(gateway: Traefik, webui: WebUi) -> None:
    """To Prometheus, which asks for OpenMetrics; of a request that is not followed there is nothing to look at."""
    asked = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    trace_id, ignored = completion(gateway.url)[0], "7" * 32
    completion(webui.url, traceparent=f"00-{ignored}-{'6' * 16}-00")
    text = fetch(f"{webui.url}/metrics", headers=asked)[1].decode()
    named = [line for line in text.splitlines() if f'trace_id="{trace_id}"' in line]
    assert [line.partition("{")[0] for line in named] == ["webui_http_request_duration_seconds_bucket"]
    assert ignored not in text
    assert trace_id not in fetch(f"{webui.url}/metrics")[1].decode()


def test_a_question_of_the_page_is_one_trace_with_the_history(jaeger: Jaeger, gateway: Traefik) -> None:
    body = {"data": [{"text": SECRET, "files": []}, *ASKED_WITH], "fn_index": 1, "session_hash": "traces"}
    said = {"Host": HOST, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/gradio_api/queue/join", json.dumps(body).encode(), said)
    with urllib.request.urlopen(request, timeout=20) as response:
        trace_id = response.headers["x-trace-id"]
    trace = jaeger.trace(trace_id, SERVICES)
    deadline = time.monotonic() + 20
    while "answer" not in {each["operationName"] for each in trace["spans"]} and time.monotonic() < deadline:
        time.sleep(0.2)
        trace = jaeger.trace(trace_id, SERVICES)
    found = spans(trace)
    named = {each["operationName"]: each for each in found.values() if each["service"] == "webui"}
    assert {"POST /gradio_api/queue/", "redis load", "redis save", "answer", "engine"} <= set(named)
    served = named["POST /gradio_api/queue/"]["spanID"]
    assert named["redis load"]["above"] == named["answer"]["above"] == served
    assert named["engine"]["above"] == named["answer"]["spanID"]
    saves = {each["above"] for each in found.values() if each["operationName"] == "redis save"}
    assert saves == {served, named["answer"]["spanID"]}, "the question, then the answer"
    tags = {tag["key"]: tag["value"] for tag in named["engine"]["tags"]}
    assert tags["gen_ai.usage.output_tokens"] > 0
    assert [log["fields"][0]["value"] for log in named["engine"]["logs"]] == ["first token"]
    assert SECRET not in json.dumps(trace)


def test_what_the_gateway_does_not_follow_nobody_follows(jaeger: Jaeger, webui: WebUi) -> None:
    trace_id = "5" * 32
    assert completion(webui.url, traceparent=f"00-{trace_id}-{'6' * 16}-00")[0] == trace_id
    time.sleep(2)
    assert fetch(f"{jaeger.url}/api/traces/{trace_id}")[0] == 404


def test_the_metrics_that_prometheus_keeps_are_there(jaeger: Jaeger, gateway: Traefik) -> None:
    jaeger.trace(completion(gateway.url)[0], SERVICES)
    text = fetch(jaeger.metrics_url)[1].decode()
    assert "otelcol_receiver_accepted_spans" in text


def test_without_a_collector_everything_is_answered_as_fast(redis: Redis) -> None:
    nobody = Tracing(url=f"http://127.0.0.1:{free_port()}", sample_percent=100, engine_spans=True)
    flag = f"--otlp-traces-endpoint={nobody.traces_url}"
    with (
        Engine(time_scale=0, flags=(flag,)) as engine,
        WebUi(engine, redis.port, flags=(flag,)) as replica,
        WebUi(engine, redis.port) as plain,
        Traefik(product_routes(replica.url), tracing=nobody) as gateway,
        Traefik(product_routes(plain.url)) as untold,
    ):
        replica.wait_ready()
        plain.wait_ready()
        seconds: dict[str, list[float]] = {gateway.url: [], untold.url: []}
        for _ in range(30):
            for url, each in seconds.items():
                began = time.monotonic()
                assert b"[DONE]" in completion(url)[1]
                each.append(time.monotonic() - began)
        told, other = (sorted(each)[len(each) // 2] for each in seconds.values())
        assert told < other + 0.05, f"median {told:.3f} s with a collector that is away, {other:.3f} s without any"
        time.sleep(2)
        away = [line for line in lines(replica) if "collector does not answer" in line["message"]]
        assert len(away) == 1, "told once"
        assert not [line for line in lines(replica) if line["level"] == "error"]
