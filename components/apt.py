"""apt sources and their keys, as text."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from components.settings import AptMirror
from host.resources import ROOT

KEYRINGS = "/etc/apt/keyrings"
_CRC24_START, _CRC24_POLYNOMIAL = 0xB704CE, 0x1864CFB


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteKey:
    """A signing key the node fetches once: checked against its SHA-256 or, for https, its fingerprint if given."""

    url: str
    path: str
    sha256: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A package repository as a node sees it: its `deb` lines and the key, either at hand or to be fetched by the node."""

    lines: str
    keyring: str
    key: str | None
    remote_key: RemoteKey | None


def repository(name: str, mirror: AptMirror, fingerprint: str = "") -> Repository:
    """`name` becomes the keyring's file name. apt tells binary from armoured keyrings by their extension."""
    key = key_text(mirror)
    if key is not None or mirror.key_url is None:
        keyring = f"{KEYRINGS}/{name}.asc"
        return Repository(
            lines=source_lines(mirror, keyring if key else None), keyring=keyring, key=key, remote_key=None
        )
    keyring = f"{KEYRINGS}/{name}.{'gpg' if mirror.key_url.endswith('.gpg') else 'asc'}"
    remote = RemoteKey(url=mirror.key_url, path=keyring, sha256=mirror.key_sha256 or "", fingerprint=fingerprint)
    return Repository(lines=source_lines(mirror, keyring), keyring=keyring, key=None, remote_key=remote)


def source_lines(mirror: AptMirror, keyring: str | None) -> str:
    """The `deb` lines of a mirror: one for each suite, flat if the suite ends with a slash."""
    option = f"[signed-by={keyring}] " if keyring else ""
    lines = [
        " ".join(["deb", f"{option}{mirror.url}", suite, *([] if suite.endswith("/") else mirror.components)])
        for suite in mirror.suite.split()
    ]
    return "\n".join(lines) + "\n"


def key_text(mirror: AptMirror) -> str | None:
    """The mirror's key in ASCII armour, or None if the node fetches it. Raises OSError if `keyFile` cannot be read."""
    if mirror.key:
        return mirror.key if mirror.key.endswith("\n") else mirror.key + "\n"
    if mirror.key_file is None:
        return None
    content = (ROOT / Path(mirror.key_file).expanduser()).read_bytes()
    return content.decode() if content.startswith(b"-----BEGIN") else armour(content)


def armour(key: bytes) -> str:
    """ASCII armour of a binary OpenPGP key (RFC 4880, section 6), which is what apt takes as a `.asc` file."""
    body = base64.b64encode(key).decode()
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    check = base64.b64encode(crc24(key).to_bytes(3, "big")).decode()
    head, tail = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
    return "\n".join([head, "", *lines, f"={check}", tail, ""])


def crc24(data: bytes) -> int:
    """Checksum of the armour (RFC 4880, section 6.1)."""
    value = _CRC24_START
    for byte in data:
        value ^= byte << 16
        for _ in range(8):
            value <<= 1
            if value & 0x1000000:
                value ^= _CRC24_POLYNOMIAL
    return value
