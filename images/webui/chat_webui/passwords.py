"""Password hashes: scrypt with a salt of its own for each, as `$scrypt$n=32768,r=8,p=3$SALT$HASH`.

The cost (32 MiB of memory, about a quarter of a second) is one of those OWASP's Password Storage Cheat Sheet names.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

N, R, P = 32768, 8, 3
HASH = re.compile(r"\$scrypt\$n=(\d{1,6}),r=(\d{1,2}),p=(\d)\$([A-Za-z0-9_-]{22,64})\$([A-Za-z0-9_-]{43})")
MEMORY = 128 * 1024 * 1024
"""Bytes one verification may take, whatever a hash says of its cost."""
LONGEST = 256
"""Characters of a password."""


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"$scrypt$n={N},r={R},p={P}${_text(salt)}${_text(_derive(password, salt, N, R, P))}"


def verify_password(password: str, stored: str) -> bool:
    """CPU-bound; call it in a thread. False for a hash that is not one."""
    found = HASH.fullmatch(stored)
    if found is None or len(password) > LONGEST:
        return False
    cost = [int(found[number]) for number in (1, 2, 3)]
    try:
        derived = _derive(password, _bytes(found[4]), *cost)
    except ValueError:
        return False
    return hmac.compare_digest(derived, _bytes(found[5]))


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=MEMORY, dklen=32)


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
