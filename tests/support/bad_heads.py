"""Bad requests by what stands before the body: lines, headers, paths, methods."""

from __future__ import annotations

from tests.support.bad_client import CLOSED
from tests.support.bad_requests import (
    BEARER,
    CHAT,
    CHUNKED,
    CLEANED,
    GO,
    HOST,
    KEYS,
    LOGGED_IN,
    LOGIN,
    OUR_OWN,
    SMUGGLED,
    kind,
    request,
)

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
