"""No hidden limit of one: every limit on what runs at the same time is ours, and large enough."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import tempfile
import threading
import time

import pytest

pytest.importorskip("gradio")

from chat_webui.environment import prepare_environment
from chat_webui.settings import parse_settings

from tests.support.chat_processes import ASKED_WITH, Engine, Redis, WebUi

# 1 million requests a day with a peak of three times the mean is 35 a second; at 1.2 s each, on two replicas:
NEEDED_PER_REPLICA = 35 * 1.2 / 2


def test_every_event_of_the_page_may_run_often_enough() -> None:
    os.environ.setdefault("GRADIO_TEMP_DIR", tempfile.gettempdir())
    prepare_environment()
    from chat_webui.page import ChatPage

    blocks = ChatPage(None, parse_settings([], {}), None).blocks()  # type: ignore[arg-type]
    assert len(blocks.fns) > 10
    for event in blocks.fns.values():
        if event.fn is None:
            continue  # works in the browser only
        limit = event.concurrency_limit
        assert limit is None or (isinstance(limit, int) and limit >= NEEDED_PER_REPLICA), event.name
    queue = blocks._queue
    assert queue.max_size is not None
    assert queue.max_size >= 10 * NEEDED_PER_REPLICA
    assert queue.default_concurrency_limit is not None
    assert queue.default_concurrency_limit >= NEEDED_PER_REPLICA


def test_the_defaults_of_the_limits_are_large_enough() -> None:
    settings = parse_settings([], {})
    assert settings.max_chats >= 2 * NEEDED_PER_REPLICA
    assert settings.max_api_requests >= 10 * NEEDED_PER_REPLICA


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_many_users_are_answered_at_the_same_time() -> None:
    """24 chats, each of which waits 2 s at the engine: one after the other that would be 48 s."""
    users = 24
    with (
        Redis() as redis,
        Engine(time_scale=0, flags=("--max-num-seqs", "64")) as engine,
        WebUi(engine, redis.port) as webui,
    ):
        webui.wait_ready()
        engine.faults(first_token_delay=2)
        done: list[str] = []

        def chat(number: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", webui.port, timeout=60)
            cookie = {"cookie": f"qwen3vl_user={number:032d}", "content-type": "application/json"}
            asked = {"text": f"user {number}", "files": []}
            body = {"data": [asked, *ASKED_WITH], "fn_index": 1, "session_hash": f"session{number}"}
            connection.request("POST", "/gradio_api/queue/join", json.dumps(body), cookie)
            connection.getresponse().read()
            connection.request("GET", f"/gradio_api/queue/data?session_hash=session{number}", headers=cookie)
            done.append(connection.getresponse().read().decode())
            connection.close()

        chats = [threading.Thread(target=chat, args=(number,)) for number in range(users)]
        started = time.monotonic()
        for each in chats:
            each.start()
        for each in chats:
            each.join()
        assert time.monotonic() - started < 15
        assert len(done) == users
        assert all('"success":true' in events for events in done)
        assert webui.metric('webui_chat_answers_total{outcome="done"}') == users
