"""Bad requests by their body: JSON, sizes, images, what is sent to the page."""

from __future__ import annotations

import base64
import json
import zlib

from tests.support.bad_requests import (
    BEARER,
    CHAT,
    CHUNKED,
    ENGINE,
    JSON,
    KEY,
    KEYS,
    LOGIN,
    SCAN,
    animated,
    as_url,
    chat,
    chunk,
    kind,
    png,
    posted,
    request,
    saying,
    showing,
    upload,
)
from tests.support.chat_processes import MODEL

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
