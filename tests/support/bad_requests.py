"""Kinds of bad request, as bytes, each with the answers that are right for it and why."""

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
from tests.support.bad_client import CLOSED
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

FRAMING = (
    kind("words of no protocol", b"hello, is anybody there? I would like to talk\r\n\r\n", 400, GO),
    kind("four words in the first line", request("GET", "/v1/models x"), 400, GO),
    kind("a version that does not exist", request("GET", "/v1/models", version="HTTP/3.7"), 505, GO),
    kind("no version", b"GET /v1/models\r\nHost: qwen3.example.com\r\n\r\n", 400, GO),
    kind(
        "TLS on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(507), {400, CLOSED}, "no TLS"
    ),
    kind("no Host", request("GET", "/v1/models", BEARER, host=None), 400, GO),
    kind("two Hosts", request("GET", "/v1/models", BEARER, "Host: other.example.com"), 400, GO),
    kind("a Host that is none", request("GET", "/v1/models", BEARER, host="a b/../c"), 400, GO),
    kind("another Host", request("GET", "/v1/models", BEARER, host="internal.example.com"), 404, "no route has it"),
    kind("an address for a Host", request("GET", "/v1/models", BEARER, host="127.0.0.1"), 404, "no route has it"),
    kind(
        "two lengths", request("POST", CHAT, BEARER, "Content-Length: 5", "Content-Length: 6", body=b"123456"), 400, GO
    ),
    kind("a list of lengths", request("POST", CHAT, BEARER, "Content-Length: 5, 6", body=b"123456"), 400, GO),
    kind("a length below nothing", request("POST", CHAT, BEARER, "Content-Length: -5"), 400, GO),
    kind("a length that is no number", request("POST", CHAT, BEARER, "Content-Length: 0x10"), 400, GO),
    kind("a length beyond 64 bits", request("POST", CHAT, BEARER, f"Content-Length: 1{'0' * 30}"), 400, GO),
    kind(
        "length and chunks",
        request(*CHUNKED, "Content-Length: 5", body=SMUGGLED),
        400,
        "chunks win, the length is dropped",
    ),
    kind("chunks in an encoding unknown", request("POST", CHAT, BEARER, "Transfer-Encoding: xchunked"), 501, GO),
    kind("chunks twice", request("POST", CHAT, BEARER, "Transfer-Encoding: chunked, chunked", body=SMUGGLED), 501, GO),
    kind("chunks behind a blank", request("POST", CHAT, BEARER, "Transfer-Encoding : chunked", body=SMUGGLED), 400, GO),
    kind("chunks of an old version", request(*CHUNKED, body=SMUGGLED, version="HTTP/1.0"), {400, 501}, GO),
    kind("a chunk's length no number", request(*CHUNKED, body=b"ZZ\r\nabc\r\n0\r\n\r\n"), 500, "Traefik keeps bodies"),
    kind("a chunk's length negative", request(*CHUNKED, body=b"-5\r\nabc\r\n0\r\n\r\n"), 500, "Traefik keeps bodies"),
    kind(
        "a chunk beyond 64 bits",
        request(*CHUNKED, body=b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n"),
        500,
        "Traefik keeps bodies",
    ),
    kind(
        "a chunk with a long extension",
        request(*CHUNKED, body=b"1;" + b"a" * 100_000 + b"\r\nx\r\n0\r\n\r\n"),
        500,
        "as above",
    ),
    kind("a trailer in place of a header", request(*CHUNKED, "Trailer: Host", body=b"0\r\nHost: x\r\n\r\n"), 400, GO),
    kind("HTTP/2 in the middle of nothing", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64, CLOSED, "not a frame"),
)

HEADERS = (
    kind(
        "a header of 2 MB", request("GET", "/v1/models", BEARER, f"X-A: {'a' * 2_000_000}"), 431, "`limits.headerKib`"
    ),
    kind(
        "a header of 200 kB", request("GET", "/v1/models", BEARER, f"X-A: {'a' * 200_000}"), 431, "`limits.headerKib`"
    ),
    kind("20,000 headers", request("GET", "/v1/models", BEARER, *[f"X-{n}: 1" for n in range(20_000)]), 431, "same"),
    kind("a path of 200 kB", request("GET", f"/v1/models?{'a' * 200_000}", BEARER), 431, "`limits.headerKib`"),
    kind("a header with a line's end", request("GET", "/v1/models", BEARER, "X-A: a\rX-B: b"), 400, GO),
    kind("a header with a zero", request("GET", "/v1/models", BEARER, "X-A: a\0b"), 400, GO),
    kind("a header's name with a blank", request("GET", "/v1/models", BEARER, "X A: b"), 400, GO),
    kind("a header without a name", request("GET", "/v1/models", BEARER, ": b"), 400, GO),
    kind(
        "letters beyond ASCII in the key", request("GET", "/v1/models", "Authorization: Bearer k\xe9y\xff"), 401, KEYS
    ),
    kind("an expectation unknown", request("GET", "/v1/models", BEARER, "Expect: the unexpected"), 417, GO),
    kind("2,000 cookies", request("GET", "/", "Cookie: " + "; ".join(f"a{n}=b" for n in range(2000))), 303, LOGIN),
    kind("a forged session", request("GET", "/account", "Cookie: qwen3vl_session=YWxpY2U.9999999999.x.y"), 401, LOGIN),
    kind("a name by header", request("GET", "/account", "X-User: alice", "X-Auth-Request-User: alice"), 401, LOGIN),
    kind("the gateway's token guessed", request("GET", "/account", "X-Qwen3-VL-Gateway: guess"), 401, LOGIN),
    kind(
        "the key named a header of one hop",
        request("GET", "/v1/models", BEARER, "Connection: close, Authorization"),
        401,
        KEYS,
    ),
    kind(
        "metrics without the gateway's mark",
        request("GET", "/metrics", "Connection: close, X-Forwarded-For"),
        404,
        OUR_OWN,
    ),
    kind("metrics with an alias of it", request("GET", "/metrics", "X_Forwarded_For: 10.0.0.1"), 404, OUR_OWN),
    kind("metrics as if from loopback", request("GET", "/metrics", "X-Forwarded-For: 127.0.0.1"), 404, OUR_OWN),
    kind(
        "a path by header",
        request("GET", "/account", "X-Original-URL: /metrics", "X-Rewrite-URL: /metrics"),
        401,
        LOGIN,
    ),
    kind(
        "another site's form with a forged host",
        request("POST", "/login", "Origin: http://evil.example", "X-Forwarded-Host: evil.example", "Content-Length: 0"),
        403,
        OUR_OWN,
    ),
)

PATHS = (
    kind("up and down to the API", request("GET", "/x/../v1/models"), 401, CLEANED),
    kind("up and down, escaped", request("GET", "/x/%2e%2e/v1/models"), 401, CLEANED),
    kind("out of the API to metrics", request("GET", "/v1/../metrics", BEARER), 404, CLEANED),
    kind("out of the API, escaped", request("GET", "/v1/%2e%2e/config", BEARER), 401, CLEANED),
    kind("above the root", request("GET", "/../../../../etc/passwd"), 401, CLEANED),
    kind("two slashes", request("GET", "//v1/models"), 401, CLEANED),
    kind("an escaped slash", request("GET", "/v1%2fmodels"), 400, "two programs could read it differently"),
    kind("out of the API by an escaped slash", request("GET", "/v1/..%2fconfig", BEARER), 400, "same"),
    kind("an escaped backslash", request("GET", "/v1/..%5cconfig", BEARER), 400, "same"),
    kind("an escaped zero", request("GET", "/v1/models%00", BEARER), 400, "same"),
    kind("escaped twice", request("GET", "/v1/%252e%252e/config", BEARER), 404, "`/v1` takes plain names only"),
    kind("half an escape", request("GET", "/v1/models%2", BEARER), 400, GO),
    kind("a fragment", request("GET", "/v1/models#/../metrics", BEARER), 400, "a browser never sends one"),
    kind("capital letters", request("GET", "/V1/models", BEARER), 401, LOGIN),
    kind("parameters in the path", request("GET", "/v1;x=y/models", BEARER), 401, LOGIN),
    kind("a blank behind the API", request("GET", "/v1%20/models", BEARER), 401, LOGIN),
    kind(
        "another host in the first line",
        request("GET", "http://internal.example.com/v1/models", BEARER),
        404,
        "no route",
    ),
    kind(
        "the first line's host wins", request("GET", f"http://{HOST}/v1/models", host="internal.example.com"), 401, KEYS
    ),
    kind("a file of the pod", request("GET", "/gradio_api/file=/etc/passwd", LOGGED_IN), 404, "only uploads"),
    kind("a file beside the uploads", request("GET", "/static/../../settings.py", LOGGED_IN), 404, CLEANED),
    kind(
        "the engine's own endpoints",
        request("POST", "/v1/load_lora_adapter", BEARER, "Content-Length: 0"),
        404,
        "not public",
    ),
    kind("Gradio's proxy", request("GET", "/gradio_api/proxy=http://127.0.0.1/", LOGGED_IN), 404, "not served"),
)

METHODS = (
    kind("TRACE", request("TRACE", "/", LOGGED_IN), 404, "not served"),
    kind("CONNECT", request("CONNECT", "internal.example.com:443"), {404, 405, 501}, "no proxy"),
    kind("a method in small letters", request("get", "/v1/models", BEARER), 400, "the web UI's parser refuses it"),
    kind("a method nobody knows", request("BREW", "/v1/models", BEARER), 400, "the web UI's parser refuses it"),
    kind("a method with a sign", request("G@T", "/v1/models", BEARER), 400, GO),
    kind(
        "another method by header",
        request("GET", "/login", "X-HTTP-Method-Override: POST"),
        200,
        "it means nothing here",
    ),
    kind("DELETE of the page", request("DELETE", "/", LOGGED_IN), 404, "not served"),
    kind(
        "a body with a GET",
        request("GET", "/v1/models", BEARER, "Content-Length: 20000", body=bytes(20_000)),
        413,
        "10 kB",
    ),
    kind(
        "a WebSocket to nowhere",
        request(
            "GET",
            "/gradio_api/queue/join",
            LOGGED_IN,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
        ),
        404,
        "nothing here speaks it",
    ),
    kind("an upgrade of the API", request("GET", "/v1/models", "Connection: Upgrade", "Upgrade: h2c"), 401, KEYS),
)

BODIES = (
    kind("no key", request("POST", CHAT, JSON, "Content-Length: 2", body=b"{}"), 401, KEYS),
    kind("a key of basic authentication", request("GET", "/v1/models", "Authorization: Basic YTpi"), 401, KEYS),
    kind("a key in the address", request("GET", f"/v1/models?api_key={KEY}"), 401, KEYS),
    kind("no JSON", chat(b"{ not json"), 400, ENGINE),
    kind("nothing", chat(b""), 400, ENGINE),
    kind("a list", chat([]), 400, ENGINE),
    kind(
        "UTF-16",
        chat(json.dumps(saying()).encode("utf-16")),
        {200, 400},
        "JSON may not be, Python reads it all the same",
    ),
    kind("bytes of no encoding", chat(b'{"model": "\xff\xfe"}'), 400, ENGINE),
    kind("200,000 brackets", chat(b"[" * 200_000), 400, ENGINE),
    kind("100,000 objects in one another", chat(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), 400, ENGINE),
    kind(
        "a number beyond floating point",
        chat(json.dumps(saying()).replace('"max_tokens": 4', '"max_tokens": 1e400').encode()),
        400,
        ENGINE,
    ),
    kind(
        "a number of 10,000 digits",
        chat(json.dumps(saying(n=0)).replace('"n": 0', f'"n": {"9" * 10_000}').encode()),
        400,
        ENGINE,
    ),
    kind("a negative length of the answer", chat(saying(max_tokens=-1)), 400, ENGINE),
    kind("not a number", chat(saying(temperature=float("nan"))), {200, 400}, "Python's JSON knows it, JSON does not"),
    kind(
        "the model twice",
        chat(json.dumps(saying()).replace("{", '{"model": "a",', 1).replace(MODEL, "b").encode()),
        404,
        ENGINE,
    ),
    kind("half a character", chat(b'{"messages": [{"role": "user", "content": "\\ud800"}]}'), {200, 400}, ENGINE),
    kind("text, they say", chat(saying(), "Content-Type: text/plain"), {200, 400, 415}, "the engine judges"),
    kind("a form", chat(b"model=x&messages=y", "Content-Type: application/x-www-form-urlencoded"), {400, 415}, ENGINE),
    kind(
        "compressed",
        chat(zlib.compress(bytes(10_000_000)), JSON, "Content-Encoding: gzip"),
        415,
        "bodies come as they are",
    ),
    kind(
        "a longer body than is allowed",
        request("POST", CHAT, BEARER, "Content-Length: 33554433", body=b"{"),
        413,
        "maxBodyMib",
    ),
    kind(
        "a body of terabytes",
        request("POST", CHAT, BEARER, "Content-Length: 9999999999999", body=b"{"),
        413,
        "maxBodyMib",
    ),
    kind(
        "a body too large that asks first",
        request("POST", CHAT, BEARER, "Content-Length: 99999999", "Expect: 100-continue"),
        413,
        "maxBodyMib",
    ),
    kind(
        "chunks beyond the limit",
        request(*CHUNKED, body=(b"100000\r\n" + bytes(0x100000) + b"\r\n") * 33 + b"0\r\n\r\n"),
        413,
        "maxBodyMib",
    ),
)

IMAGES = (
    kind(
        "an image of 3.6 billion pixels",
        chat(showing(as_url(png(60_000, 1).replace(b"\0\0\0\1", b"\0\0\xea\x60", 1)))),
        400,
        SCAN,
    ),
    kind("25 million pixels in 25 kB", chat(showing(as_url(png(5000, 5000)))), 400, SCAN),
    kind(
        "a text of 64 MB in an image",
        chat(showing(as_url(png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26))))))),
        {200, 400},
        "nobody reads it",
    ),
    kind("half an image", chat(showing(as_url(png(512, 512)[:300]))), 400, ENGINE),
    kind(
        "a page for an image",
        chat(showing("data:image/png;base64," + base64.b64encode(b"<html>").decode())),
        400,
        ENGINE,
    ),
    kind("a drawing with a script", chat(showing(as_url(b"<svg onload='x()'/>", "svg+xml"))), 400, ENGINE),
    kind("base64 of nothing", chat(showing("data:image/png;base64,%%%%")), 400, ENGINE),
    kind(
        "an animation of 400 frames", chat(showing(as_url(animated(400), "gif"))), {200, 400}, "the first frame counts"
    ),
    kind("one image more than is allowed", chat(showing(*[as_url(png(8, 8))] * 5)), 400, SCAN),
    kind("1,000 images", chat(showing(*[as_url(png(8, 8))] * 1000)), 400, SCAN),
    kind("an address on loopback", chat(showing("http://127.0.0.1:{trap00}/x.png")), 400, SCAN),
    kind("an address in capitals", chat(showing("HTTP://127.0.0.1:{trap00}/x.png")), 400, SCAN),
    kind("an address behind a blank", chat(showing(" http://127.0.0.1:{trap00}/x.png")), 400, SCAN),
    kind(
        "an address written in escapes",
        chat(json.dumps(showing("http://127.0.0.1:{trap00}/x.png")).replace("http", "\\u0068ttp").encode()),
        400,
        SCAN,
    ),
    kind(
        "an address under a name in escapes",
        chat(json.dumps(showing("http://127.0.0.1:{trap00}/x.png")).replace('"url"', '"\\u0075rl"').encode()),
        400,
        "the engine fetches nothing",
    ),
    kind("the cloud's metadata", chat(showing("http://169.254.169.254/latest/meta-data/")), 400, SCAN),
    kind("a service of the cluster", chat(showing("http://redis.default.svc.cluster.local:6379/")), 400, SCAN),
    kind("a file of the pod as an image", chat(showing("file:///etc/passwd")), 400, SCAN),
    kind(
        "a video by address",
        chat(
            saying(
                messages=[
                    {
                        "role": "user",
                        "content": [{"type": "video_url", "video_url": {"url": "http://127.0.0.1:{trap00}/"}}],
                    }
                ]
            )
        ),
        400,
        SCAN,
    ),
)

PAGE = (
    kind("an upload of nobody", upload("a.png", png(8, 8), session=False), 401, LOGIN),
    kind(
        "an upload with another boundary",
        upload("a.png", png(8, 8), boundary="other"),
        400,
        "Gradio's reader refuses it",
    ),
    kind("an upload without a boundary", upload("a.png", png(8, 8), boundary=""), 400, "Gradio's reader refuses it"),
    kind("an upload that is no form", posted("/gradio_api/upload", b"{}"), 400, "Gradio's reader refuses it"),
    kind("an upload above the limit of a file", upload("a.png", bytes(11 * 1024 * 1024)), 413, "10 MiB a file"),
    kind(
        "an upload of another site",
        upload("a.png", png(8, 8), "Origin: http://evil.example"),
        403,
        "cookies would come with it",
    ),
    kind(
        "an event of nobody",
        request("POST", "/gradio_api/queue/join", JSON, "Content-Length: 2", body=b"{}"),
        401,
        LOGIN,
    ),
    kind(
        "an event without JSON",
        posted("/gradio_api/queue/join", b"{ not json"),
        {400, 422},
        "Gradio's reader refuses it",
    ),
    kind("an event of brackets", posted("/gradio_api/queue/join", b"[" * 200_000), {400, 422}, "same"),
    kind(
        "an event that does not exist",
        posted("/gradio_api/queue/join", b'{"data":[],"fn_index":99999,"session_hash":"a"}'),
        {400, 404, 422},
        "same",
    ),
    kind(
        "an event that says too little",
        posted("/gradio_api/queue/join", b'{"data":[],"fn_index":1,"session_hash":"a"}'),
        {200, 400, 422},
        "it fails by itself",
    ),
    kind(
        "a login of a megabyte", request("POST", "/login", "Content-Length: 999999", body=bytes(999_999)), 401, "4 kB"
    ),
    kind(
        "a login with a thousand fields",
        request("POST", "/login", "Content-Length: 2999", body=b"a=&" * 999 + b"a="),
        401,
        "4",
    ),
)
