"""Sends to the robots of groups. Nothing that leaves here says a URL or a key."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from alert_relay.formats import FORMATS, refusal

SECONDS = 8  # Alertmanager gives a webhook ten
LONGEST_ANSWER = 65536


class NotTaken(Exception):
    """A message that did not arrive; the text says why."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A robot that has moved is said, not followed: its token would go along."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True, slots=True)
class Robot:
    kind: str
    url: str
    key: str | None

    def send(self, notification: Mapping[str, Any]) -> None:
        """Raises NotTaken."""
        message = FORMATS[self.kind](self.url, self.key, notification, time.time())
        body = json.dumps(message.body, ensure_ascii=False).encode()
        request = urllib.request.Request(message.url, body, {"Content-Type": "application/json; charset=utf-8"})  # noqa: S310
        try:
            with OPENER.open(request, timeout=SECONDS) as answer:
                why = refusal(answer.read(LONGEST_ANSWER))
        except urllib.error.HTTPError as error:
            error.close()
            raise NotTaken(f"status {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise NotTaken(self._hidden(f"{type(error).__name__}: {getattr(error, 'reason', None) or error}")) from None
        if why:
            raise NotTaken(self._hidden(why))

    def _hidden(self, text: str) -> str:
        path = self.url.partition("://")[2].partition("/")[2]
        token = self.url.rpartition("=" if "=" in self.url else "/")[2]
        for secret in sorted({self.url, path, token, self.key or ""} - {""}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text[:200]


def robots(kinds: Mapping[str, str], secrets: Path) -> dict[str, Robot]:
    """By the receiver's name: files `url-NAME` and, where messages are signed, `sign-NAME`."""
    return {
        name: Robot(kind, _text(secrets / f"url-{name}") or "", _text(secrets / f"sign-{name}"))
        for name, kind in kinds.items()
    }


def _text(file: Path) -> str | None:
    return file.read_text().strip() if file.is_file() else None
