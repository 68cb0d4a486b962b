"""Who may use `/v1`, and how much: named keys, of which this program only has digests.

The file is JSON, name -> `sha256` of the key, `requestsInFlight` and, if there is one, `requestsPerMinute`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass

from starlette.datastructures import Headers

from chat_webui.live_file import LiveFile
from chat_webui.shared import Shared

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
DIGEST = re.compile(r"[0-9a-f]{64}")
MINUTE = 60
LONGEST = 512
"""Characters of a key that is looked at."""


@dataclass(frozen=True)
class ApiKey:
    name: str
    in_flight: int
    per_minute: int | None


class KeyRefused(Exception):
    """The request may not go on: status, OpenAI's error code, and what the client is told."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str], name: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers
        self.name = name


def parse_api_keys(content: bytes) -> dict[str, ApiKey]:
    """Digest -> key. Raises ValueError, which shows nothing of the content."""
    try:
        found = json.loads(content)
        keys = {
            str(entry["sha256"]): ApiKey(
                str(name), int(entry["requestsInFlight"]), _limit(entry.get("requestsPerMinute"))
            )
            for name, entry in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("not a mapping of names to sha256, requestsInFlight and requestsPerMinute") from None
    if len(keys) != len(found) or not all(map(DIGEST.fullmatch, keys)):
        raise ValueError("each key has a SHA-256 of its own, in lower case")
    if not all(NAME.fullmatch(key.name) for key in keys.values()):
        raise ValueError("a key's name is up to 40 lower-case letters, digits and inner hyphens")
    return keys


def _limit(value: object) -> int | None:
    return None if value is None else int(str(value))


class ApiKeys:
    """Admission of `/v1` requests. The requests in flight are counted in this replica, those of a minute in all of them."""

    def __init__(self, file: LiveFile[dict[str, ApiKey]], shared: Shared) -> None:
        self._file = file
        self._shared = shared
        self._in_flight: dict[str, int] = {}

    async def admit(self, headers: Headers) -> ApiKey:
        """Counts the request as in flight until `leave`. Raises KeyRefused."""
        key = self._known(headers)
        in_flight = self._in_flight.get(key.name, 0)
        if in_flight >= key.in_flight:
            raise KeyRefused(
                429,
                "rate_limit_exceeded",
                f"key `{key.name}` has {in_flight} requests in flight at this replica, its limit",
                {"retry-after": "1"},
                key.name,
            )
        self._in_flight[key.name] = in_flight + 1  # before the first await, so that a burst cannot pass together
        try:
            if key.per_minute is not None:
                await self._within_the_minute(key, key.per_minute)
        except BaseException:
            self.leave(key)
            raise
        return key

    def leave(self, key: ApiKey) -> None:
        left = self._in_flight.get(key.name, 0) - 1
        if left > 0:
            self._in_flight[key.name] = left
        else:
            self._in_flight.pop(key.name, None)

    def _known(self, headers: Headers) -> ApiKey:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip()
        challenge = {"www-authenticate": "Bearer"}
        if scheme.lower() != "bearer" or not given:
            message = "no API key; send one as `Authorization: Bearer KEY`"
            raise KeyRefused(401, "invalid_api_key", message, challenge)
        # Looked up by its digest: how long that takes says nothing about any key.
        key = self._file.now().get(hashlib.sha256(given[:LONGEST].encode("latin-1")).hexdigest())
        if key is None:
            raise KeyRefused(401, "invalid_api_key", "this API key is not known", challenge)
        return key

    async def _within_the_minute(self, key: ApiKey, limit: int) -> None:
        if await self._shared.count(f"api:{key.name}", MINUTE) > limit:
            wait = MINUTE - int(time.time()) % MINUTE
            message = f"key `{key.name}` has used its {limit} requests of this minute"
            raise KeyRefused(429, "rate_limit_exceeded", message, {"retry-after": str(wait)}, key.name)
