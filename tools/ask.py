"""Ask the running service one question with an image, the way a user's client does: load balancer, Traefik, web UI, engine.

    python -m tools.ask [QUESTION]

Reads the stack's outputs (STACK, default lab) and an API key (API_KEY, or the first of its config), so it works for any stack
whose address this machine can reach. Over https it believes the authority in the output `ingressCa`, or those of this system
(SSL_CERT_FILE names others), and only a certificate for the service's name.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "What colour is this image, and how large is it?"
PATIENCE_SECONDS = 120.0  # a load balancer's address takes seconds to be announced after its Service is there


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A plain PNG of one colour (ISO/IEC 15948), made here so that asking needs no imaging library."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(colour) * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def question(text: str, model: str) -> bytes:
    """Body of an OpenAI chat completion with one image."""
    image = base64.b64encode(png(64, 48, (200, 30, 30))).decode()
    content = [
        {"type": "text", "text": text},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
    ]
    return json.dumps({"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": content}]}).encode()


@cache
def api_key(stack: str) -> str | None:
    """A key of `/v1`: API_KEY, or the first one of the stack's config; None if there is none."""
    if given := os.environ.get("API_KEY"):
        return given
    command = [str(ROOT / "tools" / "engine"), "config", "get", "apiKeys"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"STACK": stack})
    keys: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    return keys[min(keys)] if keys else None


@dataclass(frozen=True, slots=True)
class Service:
    """Where a stack's service is, by its outputs."""

    address: str  # of the load balancer
    host: str
    model: str
    tls: ssl.SSLContext | None  # None: plain http

    @staticmethod
    def of(outputs: Mapping[str, Any]) -> Service:
        scheme, _, rest = str(outputs["url"]).partition("://")
        tls = ssl.create_default_context(cadata=outputs.get("ingressCa")) if scheme == "https" else None
        return Service(str(outputs["ingressAddress"]), rest.strip("/"), str(outputs["model"]), tls)

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A connection to the load balancer; over https to nobody but who has a certificate for the service's name. Name `host`
        in each request."""
        if self.tls is None:
            return http.client.HTTPConnection(self.address, timeout=timeout)
        return _At(self.host, address=self.address, tls=self.tls, timeout=timeout)


class _At(http.client.HTTPSConnection):
    """A connection to `address` that asks for, and verifies, the name in the URL: no name server has to know it."""

    def __init__(self, host: str, *, address: str, tls: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, timeout=timeout, context=tls)
        self._address, self._tls = address, tls

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), timeout=self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class _HttpsAt(urllib.request.HTTPSHandler):
    def __init__(self, address: str, tls: ssl.SSLContext) -> None:
        super().__init__(context=tls)
        self._dial = partial(_At, address=address, tls=tls)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._dial, request)


def ask(service: Service, text: str, stack: str = "") -> str:
    """One answer; raises OSError while the service is not reachable or says it is not ready, for a refused key, and for a
    certificate that is not believed."""
    key = api_key(stack or os.environ.get("STACK", "lab"))
    direct: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if service.tls is not None:
        direct.append(_HttpsAt(service.address, service.tls))
    origin = f"http://{service.address}" if service.tls is None else f"https://{service.host}"
    request = urllib.request.Request(  # noqa: S310  it is http or https
        f"{origin}/v1/chat/completions",
        data=question(text, service.model),
        headers={"Host": service.host, "Content-Type": "application/json"}
        | ({"Authorization": f"Bearer {key}"} if key else {}),
    )
    with urllib.request.build_opener(*direct).open(request, timeout=60) as response:
        body: dict[str, Any] = json.load(response)
    return str(body["choices"][0]["message"]["content"])


def outputs() -> dict[str, Any]:
    done = subprocess.run([ROOT / "tools" / "engine", "stack", "output", "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"stack {os.environ.get('STACK', 'lab')}: no outputs; {done.stderr.strip()}. Run `make up` first")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    text = " ".join(sys.argv[1:]) or QUESTION
    stack = outputs()
    missing = [name for name in ("url", "ingressAddress", "model") if not stack.get(name)]
    if missing:
        sys.exit(f"stack outputs: {', '.join(missing)} missing; the stack is not complete. Run `make up`")
    service = Service.of(stack)
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            started = time.monotonic()
            answer = ask(service, text)
            break
        except (OSError, urllib.error.URLError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code == 401:
                remedy = "Run: tools/engine config set --secret --path apiKeys.NAME KEY; or set API_KEY"
                sys.exit(f"{stack['url']}: 401; the service wants another API key. {remedy}")
            if time.monotonic() > end:
                sys.exit(f"{stack['url']} ({stack['ingressAddress']}): no answer in {PATIENCE_SECONDS:.0f} s; {error}")
            time.sleep(1)
    print(f"\n{stack['url']}  (load balancer {stack['ingressAddress']})")
    print(f"  question  {text}\n  answer    {answer}\n  after     {time.monotonic() - started:.2f} s")


if __name__ == "__main__":
    main()
