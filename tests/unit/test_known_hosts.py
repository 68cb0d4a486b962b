"""OpenSSH's known_hosts, as its manual describes it."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

import pytest

from host.errors import HostError
from host.known_hosts import KnownHosts, parse_key


def public(seed: bytes, kind: bytes = b"ssh-ed25519") -> str:
    blob = len(kind).to_bytes(4, "big") + kind + seed
    return f"{kind.decode()} {base64.b64encode(blob).decode()}"


ONE, TWO = public(b"1"), public(b"2")


def found(tmp_path: Path, text: str, address: str, port: int = 22) -> list[str]:
    path = tmp_path / "known_hosts"
    path.write_text(text)
    keys = KnownHosts.read(path).find(address, port)
    return [f"{key.type} {base64.b64encode(key.blob).decode()}" for key in keys]


def hashed(name: str) -> str:
    salt = b"s" * 20
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("line", "address", "port", "matches"),
    [
        (f"10.0.0.1 {ONE} comment", "10.0.0.1", 22, True),
        (f"10.0.0.1 {ONE}", "10.0.0.1", 2222, False),
        (f"[10.0.0.1]:2222 {ONE}", "10.0.0.1", 2222, True),
        (f"[10.0.0.1]:2222 {ONE}", "10.0.0.1", 22, False),
        (f"gpu-1,10.0.0.1 {ONE}", "10.0.0.1", 22, True),
        (f"10.0.0.* {ONE}", "10.0.0.1", 22, True),
        (f"10.0.0.?,!10.0.0.1 {ONE}", "10.0.0.1", 22, False),
        (f"10.0.0.?,!10.0.0.1 {ONE}", "10.0.0.2", 22, True),
        (f"[10.0.0.*]:2222 {ONE}", "10.0.0.1", 2222, True),
        (f"{hashed('10.0.0.1')} {ONE}", "10.0.0.1", 22, True),
        (f"{hashed('[10.0.0.1]:2222')} {ONE}", "10.0.0.1", 2222, True),
        (f"{hashed('10.0.0.1')} {ONE}", "10.0.0.2", 22, False),
        (f"@cert-authority 10.0.0.1 {ONE}", "10.0.0.1", 22, False),
        (f"# 10.0.0.1 {ONE}", "10.0.0.1", 22, False),
    ],
)
def test_lines(tmp_path: Path, line: str, address: str, port: int, matches: bool) -> None:
    assert found(tmp_path, f"\n{line}\n", address, port) == ([ONE] if matches else [])


def test_all_keys_of_a_host_count_and_revoked_ones_never(tmp_path: Path) -> None:
    other = public(b"3", b"ssh-rsa")
    text = f"10.0.0.1 {ONE}\n10.0.0.1 {other}\n10.0.0.1 {TWO}\n@revoked * {TWO}\n"
    assert found(tmp_path, text, "10.0.0.1") == [ONE, other]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("10.0.0.1 ssh-ed25519", "key is missing"),
        ("10.0.0.1 ssh-ed25519 !!!", "key has no valid base64"),
        ("10.0.0.1 ssh-rsa " + ONE.split()[1], "key names another type than its base64 holds"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(HostError, match=f"known_hosts line 2: {reason}"):
        found(tmp_path, f"# first\n{line}\n", "10.0.0.1")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"ssh\.knownHosts: cannot read .* \(No such file or directory\)"):
        KnownHosts.read(tmp_path / "none")


def test_the_fingerprint_is_openssh_s() -> None:
    key = parse_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJaKp5f6fNUa1P8PjVrvDPNmnmJpmAqPzl6MgXVLd5l2")
    assert key.fingerprint.startswith("SHA256:")
    assert len(key.fingerprint) == 50
