"""Which public keys a node may show: the node's own `hostKeys`, else OpenSSH's known_hosts format."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from host.errors import HostError


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public key as it stands in known_hosts: type and blob."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as OpenSSH prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


def parse_key(text: str) -> HostKey:
    """Parse `ssh-ed25519 AAAA... [comment]`. Raises ValueError if it is not a public key."""
    words = text.split()
    if len(words) < 2:
        raise ValueError("is not `<type> <base64>`")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error as error:
        raise ValueError("has no valid base64") from error
    kind = words[0].encode()
    if blob[: 4 + len(kind)] != len(kind).to_bytes(4, "big") + kind:
        raise ValueError("names another type than its base64 holds")
    return HostKey(words[0], blob)


def lookup_name(address: str, port: int) -> str:
    """The name OpenSSH files a host under: `[address]:port` unless the port is 22."""
    return address if port == 22 else f"[{address}]:{port}"


@dataclass(slots=True)
class KnownHosts:
    """The entries of one known_hosts file. Hashed names cost one HMAC each, so plain ones are looked up first."""

    path: str | None = None
    plain: dict[str, list[HostKey]] = field(default_factory=lambda: defaultdict(list))
    hashed: list[tuple[bytes, bytes, HostKey]] = field(default_factory=list)
    patterns: list[tuple[list[str], HostKey]] = field(default_factory=list)
    revoked: set[bytes] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> KnownHosts:
        """Read `path`. Lines of certificate authorities are passed over; a broken line is an error with its number."""
        known = cls(str(path))
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise HostError(
                f"ssh.knownHosts: cannot read {path} ({error.strerror}); host keys are always verified. "
                "Give the path of a known_hosts file or `hostKeys` of each node."
            ) from error
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.lstrip().startswith("#"):
                try:
                    known._add(line.split())
                except ValueError as error:
                    raise HostError(
                        f"ssh.knownHosts: {path} line {number}: key {error}; host keys are always verified. "
                        "Mend or delete the line."
                    ) from error
        return known

    def _add(self, words: list[str]) -> None:
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) < 3:
            raise ValueError("is missing")
        names, key = words[0], parse_key(" ".join(words[1:3]))
        if marker == "@revoked":
            self.revoked.add(key.blob)
        elif marker:
            return
        elif names.startswith("|1|"):
            _, _, salt, digest = names.split("|")
            self.hashed.append((base64.b64decode(salt), base64.b64decode(digest), key))
        elif any(char in names for char in "*?!"):
            self.patterns.append((names.split(","), key))
        else:
            for name in names.split(","):
                self.plain[name].append(key)

    def find(self, address: str, port: int) -> list[HostKey]:
        """All keys filed for this address and port; revoked ones are left out."""
        name = lookup_name(address, port)
        found = list(self.plain.get(name, ()))
        found += [key for names, key in self.patterns if _matches(name, names)]
        if not found:
            raw = name.encode()
            found = [key for salt, digest, key in self.hashed if hmac.digest(salt, raw, "sha1") == digest]
        return [key for key in found if key.blob not in self.revoked]


def _matches(name: str, patterns: list[str]) -> bool:
    if any(fnmatch.fnmatchcase(name, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return False
    # `[` begins the `[address]:port` form here and never a character class.
    return any(fnmatch.fnmatchcase(name, p.replace("[", "[[]")) for p in patterns if not p.startswith("!"))
