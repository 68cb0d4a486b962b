"""The web UI in a real headless browser, through the load balancer: ask, upload, stream, reload; a killed pod loses nothing."""

from __future__ import annotations

import json
import ssl
import time

import pytest

from tests.cluster.test_1_build import kubectl
from tests.support.chat_page import ChatPage, browser
from tests.support.lab import Lab
from tests.support.stack import Stack
from tools import ask

pytestmark = pytest.mark.browser


def wait_for_answers(page: ChatPage, number: int, seconds: float = 30) -> list[str]:
    """The answers the page shows once there are `number`; the history comes from Redis after the page is there."""
    end = time.monotonic() + seconds
    while len(page.answers()) < number and time.monotonic() < end:
        time.sleep(0.1)
    return page.answers()


def verified(service: ask.Service) -> list[bytes]:
    """The gateway's certificate, if the stack's own authority vouches for it; nothing over plain http."""
    connection = service.connect(timeout=30)
    connection.connect()
    try:
        found = connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else None
    finally:
        connection.close()
    return [found] if found else []


def test_a_chat_with_an_image_survives_a_reload_and_the_loss_of_its_pod(stack: Stack, lab: Lab) -> None:
    outputs = stack.outputs()
    service = ask.Service.of(outputs)
    with browser(resolve={service.host: service.address}, believed=verified(service)) as chromium:
        page = ChatPage(chromium.new_context(), outputs["url"])
        page.open()
        page.ask("Which colour is this picture?", images=[ask.png(40, 30, (20, 20, 220))])
        states = page.growing_answer(1, within=60)
        # That it grows word by word is tests/webui's; here a busy machine may see the end only.
        assert "40x30" in states[-1]
        assert "blue" in states[-1]

        page.open()
        assert wait_for_answers(page, 1) == states[-1:]

        pods = json.loads(kubectl(lab, "get pods -l app=qwen3-vl-webui -o json"))["items"]
        kubectl(lab, f"delete pod {pods[0]['metadata']['name']} --grace-period=0 --force --wait=false")
        page.open()
        assert wait_for_answers(page, 1) == states[-1:]
        page.ask("And now?")
        assert page.answer(within=60, number=2)
        assert page.foreign == []
