"""The pod's two processes started with the very command lines that the Deployment gives them."""

from __future__ import annotations

import http.client
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from components.inference.engines import engine as chosen_engine
from components.inference.model import webui_arguments
from components.settings import Inference
from tests.support.chat_processes import MODEL, ROOT, Engine, Redis, WebUi, fetch
from tests.support.chats import Entry, asking
from tools import ask

INFERENCE = Inference(max_output_tokens=400, max_body_mib=1, shutdown_timeout_seconds=20, drain_seconds=30)


def moved(arguments: tuple[str, ...] | list[str], **places: object) -> list[str]:
    """The same command line with other values for the flags in `places`, which are this machine's."""
    flags = {f"--{name.replace('_', '-')}": value for name, value in places.items()}
    return [f"{name}={flags[name]}" if (name := text.partition("=")[0]) in flags else text for text in arguments]


class PodEngine(Engine):
    def command(self) -> list[str]:
        # By name: the folder of the model is in the pod only.
        arguments = moved(chosen_engine(INFERENCE).arguments, model=MODEL, host="127.0.0.1", port=self.port)
        return [sys.executable, str(ROOT / "lab/engine/engine.py"), *arguments]


class PodWebUi(WebUi):
    def command(self) -> list[str]:
        arguments = moved(webui_arguments(INFERENCE), engine_url=self._engine.url, drain_delay=1)
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, str(ROOT / "images/webui/webui.py"), *arguments, *place]


@pytest.fixture
def pod() -> Iterator[tuple[PodEngine, PodWebUi]]:
    with Redis() as redis, PodEngine() as engine, PodWebUi(engine, redis.port) as webui:
        webui.wait_ready()
        yield engine, webui


def entry(url: str) -> Entry:
    return Entry(ask.Service(url.removeprefix("http://"), "qwen3.example.com", MODEL, tls=None))


def test_the_pod_answers_and_nobody_gets_a_longer_answer_than_allowed(pod: tuple[PodEngine, PodWebUi]) -> None:
    engine, webui = pod
    entry(webui.url).whole()
    entry(webui.url).streamed(400)
    with pytest.raises(ConnectionError, match="broke off after 400 of 500"):
        entry(webui.url).streamed(500)
    assert engine.metric("vllm:generation_tokens_total") >= 800


def test_a_body_above_the_limit_is_refused(pod: tuple[PodEngine, PodWebUi]) -> None:
    _, webui = pod
    connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=30)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Content-Length", str(INFERENCE.max_body_mib * 1024 * 1024 + 1))
    connection.endheaders()  # refused by what it declares, before any of it is sent
    assert connection.getresponse().status == 413
    connection.close()
    assert fetch(f"{webui.url}/v1/chat/completions", ask.question("?", MODEL))[0] == 200


@pytest.mark.parametrize("leaving", ["webui", "engine"])
def test_an_answer_that_is_being_written_is_finished_by_a_process_that_leaves(
    pod: tuple[PodEngine, PodWebUi], leaving: str
) -> None:
    engine, webui = pod
    process = webui if leaving == "webui" else engine
    failed: list[BaseException] = []

    def stream() -> None:
        try:
            entry(process.url).streamed(300)
        except BaseException as error:
            failed.append(error)

    asked = threading.Thread(target=stream)
    asked.start()
    while engine.metric("vllm:generation_tokens_total") < 20:
        assert asked.is_alive(), failed
    process.signal(signal.SIGTERM)
    asked.join(timeout=60)
    assert failed == []


def test_users_who_never_stop_asking_are_all_answered(pod: tuple[PodEngine, PodWebUi]) -> None:
    _, webui = pod
    with asking(entry(webui.url), tokens=50) as users:
        pass
    assert users.failures == []
    assert users.least_answers >= 1
