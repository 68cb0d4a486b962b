"""What bad requests are made of (bad_heads.py, bad_bodies.py): bytes, the answers that are right for them, and why."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

from components.settings import Ingress
from tests.support.chat_processes import MODEL

HOST = Ingress().host
KEY = "key-of-the-tests-0123456789abcdef"
CHAT = "/v1/chat/completions"
JSON = "Content-Type: application/json"
BEARER = f"Authorization: Bearer {KEY}"
# Filled in when a kind is sent: a session of the page, and a port of loopback that nobody may be sent to.
SESSION, TRAP = b"{session}", b"{trap00}"
LOGGED_IN = f"Cookie: {SESSION.decode()}"


@dataclass(frozen=True)
class Kind:
    name: str
    sent: bytes
    expected: frozenset[int]
    why: str


def request(
    method: str, path: str, *headers: str, body: bytes = b"", host: str | None = HOST, version: str = "HTTP/1.1"
) -> bytes:
    """Nothing is checked, and nothing added but the host and that the connection ends."""
    lines = [f"{method} {path} {version}"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += headers
    if not any(each.lower().startswith("connection:") for each in headers):
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chat(body: Any, *headers: str) -> bytes:
    """A question with the right key and length, whatever the body is."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", CHAT, BEARER, *(headers or (JSON,)), f"Content-Length: {len(content)}", body=content)


def saying(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]} | more


def showing(*urls: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return saying(messages=[{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}])


def as_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A whole PNG of zeros, however large: zeros compress to a thousandth."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compressobj(9)
    pixels = b"".join(rows.compress(bytes(width + 1)) for _ in range(height)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def animated(frames: int) -> bytes:
    written = io.BytesIO()
    pictures = [Image.new("L", (64, 64), number % 256) for number in range(frames)]
    pictures[0].save(written, "GIF", save_all=True, append_images=pictures[1:])
    return written.getvalue()


def upload(name: str, content: bytes, *headers: str, session: bool = True, boundary: str = "edge") -> bytes:
    part = (
        f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
    )
    body = part.encode() + content + b"\r\n--edge--\r\n"
    cookie = (LOGGED_IN,) if session else ()
    form = f"Content-Type: multipart/form-data; boundary={boundary}"
    return request("POST", "/gradio_api/upload", *cookie, form, f"Content-Length: {len(body)}", *headers, body=body)


def posted(path: str, body: bytes, *headers: str) -> bytes:
    return request("POST", path, LOGGED_IN, JSON, f"Content-Length: {len(body)}", *headers, body=body)


def kind(name: str, sent: bytes, expected: int | set[int], why: str) -> Kind:
    return Kind(name, sent, frozenset(expected if isinstance(expected, set) else {expected}), why)


CHUNKED = ("POST", CHAT, BEARER, JSON, "Transfer-Encoding: chunked")
SMUGGLED = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: smuggled\r\n\r\n"
GO = "Go's parser refuses it"
ENGINE = "the engine refuses it"
SCAN = "the web UI sees it in the passing body"
KEYS = "`/v1` has one door, and it asks for a key"
LOGIN = "the page has one door, and it asks for a login"
CLEANED = "Traefik cleans the path before it chooses a route, and hands on the clean one"
OUR_OWN = "Traefik writes these headers itself, whatever a client says"
