"""Sources over HTTP: a hub with its list of files, a bucket with signed requests, and servers that break off."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from model_cache.sources import SourceError, open_source
from model_cache.sources.http import pieces
from model_cache.sources.s3 import sign

from tests.support.cache_processes import FOLDER, MODEL, Agent, checkpoint, content, wait_until

COMMIT = "c0ffee" + "0" * 34
TOKEN = "hf_canary"
DEADLINE = 2.0

Reply = tuple[int, dict[str, str], bytes]


@contextmanager
def serving(answer: Callable[[str, dict[str, str]], Reply]) -> Iterator[str]:
    """An HTTP server on loopback; `answer` gets path and headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, dict(self.headers.items()))
            self.send_response(status)
            headers.setdefault("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def ranged(body: bytes, headers: dict[str, str]) -> Reply:
    if "Range" not in headers:
        return 200, {}, body
    start = int(headers["Range"].removeprefix("bytes=").rstrip("-"))
    return 206, {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}, body[start:]


def git_name(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def test_a_hub_at_a_commit_fills_a_cache_with_its_token_only_where_it_belongs(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "hub", "x")
    files = {path.name: path.read_bytes() for path in model.iterdir() if path.name != "SHA256SUMS"}
    elsewhere: list[dict[str, str]] = []

    def storage(path: str, headers: dict[str, str]) -> Reply:
        elsewhere.append(headers)
        return ranged(files[path.rpartition("/")[2]], headers)

    def hub(path: str, headers: dict[str, str]) -> Reply:
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {}, b""
        if path.startswith(f"/api/models/{MODEL}/tree/{COMMIT}"):
            entries: list[dict[str, Any]] = [{"type": "directory", "path": "sub", "oid": "0" * 40, "size": 0}]
            for name, data in files.items():
                entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": git_name(data)}
                if name.endswith(".safetensors"):
                    entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}
                entries.append(entry)
            page = "page=2" in path
            shown = entries[3:] if page else entries[:3]
            link = {} if page else {"Link": f'<{address}{path}&page=2>; rel="next"'}
            return 200, link, json.dumps(shown).encode()
        name = path.removeprefix(f"/{MODEL}/resolve/{COMMIT}/")
        if name.endswith(".safetensors"):
            return 302, {"Location": f"{other}/{name}"}, b""
        return ranged(files[name], headers)

    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    flags = ("--credential-file", str(token))
    with (
        serving(storage) as other,
        serving(hub) as address,
        Agent("gpu-1", tmp_path / "gpu-1", f"hub+{address}", COMMIT, flags) as agent,
    ):
        wait_until(agent.complete, "complete", [agent])
        assert content(agent.copy) == files
        assert TOKEN not in agent.output()
    assert elsewhere
    assert not any("Authorization" in headers for headers in elsewhere)


def test_a_bucket_fills_a_cache_with_signed_requests(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "bucket", "r1")
    refused: list[str] = []

    def store(path: str, headers: dict[str, str]) -> Reply:
        """Checks the signature anew, from the secret it knows."""
        when = datetime.strptime(headers["x-amz-date".title()], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        sent = headers["Authorization"]
        method = "HEAD" if not sent.endswith(_signature("GET", path, headers, when)) else "GET"
        if not sent.endswith(_signature(method, path, headers, when)):
            refused.append(path)
            return 403, {}, b""
        file = model / path.rpartition("/")[2]
        return ranged(file.read_bytes(), headers) if file.exists() else (404, {}, b"")

    def _signature(method: str, path: str, headers: dict[str, str], when: datetime) -> str:
        signed = {"Range": headers["Range"]} if "range;" in headers["Authorization"] else {}
        found = sign(method, f"http://{headers['Host']}{path}", signed, ("KEY", "canary-secret"), "eu-1", when)
        return found["Authorization"].rpartition("=")[2]

    keys = tmp_path / "keys"
    keys.write_text("KEY:canary-secret")
    with serving(store) as address:
        source = f"s3+{address}/models/qwen?region=eu-1"
        with Agent("gpu-1", tmp_path / "gpu-1", source, "r1", ("--credential-file", str(keys))) as agent:
            wait_until(agent.complete, "complete", [agent])
            assert content(agent.copy) == content(model)
            assert "canary-secret" not in agent.output()
    assert refused == []


def test_the_signature_is_amazons_own_example() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, Example: GET Object."""
    found = sign(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        {"Range": "bytes=0-9"},
        ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        "us-east-1",
        datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert found["Authorization"].endswith("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


def test_a_body_that_ends_early_is_an_error() -> None:
    with serving(lambda *_: (200, {"Content-Length": "10"}, b"12345")) as address:
        found = pieces(f"{address}/x", 0, DEADLINE)
        with pytest.raises(SourceError, match=r"early|Incomplete|EOF|closed"):
            b"".join(found)


def test_a_server_that_goes_silent_is_given_up() -> None:
    def silent(path: str, headers: dict[str, str]) -> Reply:
        time.sleep(8)
        return 200, {}, b""

    started = time.monotonic()
    with serving(silent) as address:
        with pytest.raises(SourceError):
            b"".join(pieces(f"{address}/x", 0, 1.0))
        assert time.monotonic() - started < 6


def test_a_server_without_ranges_is_not_resumed_from() -> None:
    with serving(lambda *_: (200, {}, b"whole")) as address, pytest.raises(SourceError, match="no ranges"):
        b"".join(pieces(f"{address}/x", 2, DEADLINE))


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://bucket", "https://host", "hub+ftp://host", "x"])
def test_another_kind_of_source_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no source"):
        open_source(url, MODEL, "r1", None, DEADLINE)


def test_a_folder_without_the_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=FOLDER):
        open_source(f"folder://{tmp_path}", MODEL, "r1", None, DEADLINE).manifest()
