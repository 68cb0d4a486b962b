"""A bucket behind an S3-compatible endpoint; requests signed as Amazon's Signature Version 4 says, or anonymous."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

from model_cache.sources.base import SourceError, SumsSource
from model_cache.sources.http import pieces, request

NO_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """`file` holds `ACCESS_KEY_ID:SECRET_ACCESS_KEY`; without one, requests are anonymous. It is read each time: keys rotate."""

    file: Path | None
    region: str

    def read(self) -> tuple[str, str] | None:
        if self.file is None:
            return None
        try:
            identity, _, secret = self.file.read_text().strip().partition(":")
        except OSError as error:
            raise SourceError(f"{self.file}: {error.strerror}") from error
        return identity, secret


class S3Source(SumsSource):
    def __init__(self, endpoint: str, below: str, keys: Keys, deadline: float) -> None:
        self._endpoint, self._below, self._keys, self._deadline = endpoint, below, keys, deadline
        self.name = f"{endpoint}/{below}"

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        url, signed = self._signed("GET", path, ranged)
        return pieces(url, offset, self._deadline, secret=signed)

    def sizes(self, paths: list[str]) -> Mapping[str, int]:
        found = {}
        for path in paths:
            url, signed = self._signed("HEAD", path, {})
            with request(url, self._deadline, secret=signed, method="HEAD") as response:
                found[path] = int(response.headers.get("Content-Length") or -1)
        return found

    def _signed(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        url = f"{self._endpoint}/{quote(f'{self._below}/{path}')}"
        keys = self._keys.read()
        return url, sign(method, url, headers, keys, self._keys.region, datetime.now(UTC)) if keys else {}


def sign(
    method: str, url: str, headers: Mapping[str, str], keys: tuple[str, str], region: str, now: datetime
) -> dict[str, str]:
    """The headers that authenticate a request without a body; `headers` are signed along and must be sent too.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """
    identity, secret = keys
    parts = urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    own = {"x-amz-content-sha256": NO_BODY, "x-amz-date": stamp}
    all_headers = {"host": parts.netloc, **own, **{name.lower(): value for name, value in headers.items()}}
    names = ";".join(sorted(all_headers))
    lines = "".join(f"{name}:{all_headers[name].strip()}\n" for name in sorted(all_headers))
    canonical = "\n".join([method, parts.path, parts.query, lines, names, NO_BODY])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for step in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    value = f"AWS4-HMAC-SHA256 Credential={identity}/{scope},SignedHeaders={names},Signature={signature}"
    return {**own, "Authorization": value}
