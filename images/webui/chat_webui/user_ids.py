"""The `user_id` in `chat:{user_id}`: 32 letters, digits, `-` and `_`, whatever it is made of."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

USER_ID = re.compile(r"[A-Za-z0-9_-]{32}")


def new_user_id() -> str:
    """192 random bits."""
    return secrets.token_urlsafe(24)


def user_id_for(kind: str, name: str) -> str:
    """The id of a named user: always the same, and of a kind of login of its own, so that changing the kind shows nobody
    another's history."""
    digest = hashlib.sha256(f"{kind}:{name}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode()
