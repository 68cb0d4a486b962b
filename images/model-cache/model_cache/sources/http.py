"""HTTP for the sources and the peers: one GET, no byte waited for longer than the deadline."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse

from model_cache.sources.base import SourceError

CHUNK = 1 << 20


def request(
    url: str,
    deadline: float,
    headers: Mapping[str, str] | None = None,
    secret: Mapping[str, str] | None = None,
    method: str = "GET",
) -> HTTPResponse:
    """The open response. `secret` headers go to this host only and not where it may send us. Raises SourceError."""
    asked = urllib.request.Request(url, headers=dict(headers or {}), method=method)  # noqa: S310 - the scheme is checked
    for name, value in (secret or {}).items():
        asked.add_unredirected_header(name, value)
    place = url.partition("?")[0]
    try:
        found: HTTPResponse = urllib.request.urlopen(asked, timeout=deadline)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(f"{place}: HTTP status {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise SourceError(f"{place}: {reason}") from error
    return found


def pieces(
    url: str,
    offset: int,
    deadline: float,
    headers: Mapping[str, str] | None = None,
    secret: Mapping[str, str] | None = None,
) -> Iterator[bytes]:
    """The body from `offset` on. Raises SourceError, also for one that ends early."""
    ranged = {**(headers or {}), **({"Range": f"bytes={offset}-"} if offset else {})}
    with request(url, deadline, ranged, secret) as response:
        if offset and response.status != 206:
            raise SourceError(f"{url.partition('?')[0]}: the server sends no ranges")
        try:
            while chunk := response.read1(CHUNK):
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"{url.partition('?')[0]}: {error or type(error).__name__}") from error
        if response.length:
            raise SourceError(f"{url.partition('?')[0]}: ended {response.length} bytes early")
