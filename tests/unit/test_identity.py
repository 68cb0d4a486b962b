"""Private keys as ssh-keygen writes them."""

from __future__ import annotations

import base64
from pathlib import Path

from host.identity import parse_private_key
from tests.support.ssh_server import make_key


def test_a_key_with_an_empty_comment_and_no_padding_is_read(tmp_path: Path) -> None:
    """Every second ECDSA key without a comment: its private part then is a multiple of the block, and nothing is padded."""
    unpadded = 0
    for number in range(24):  # none without padding among them: once in 16 million runs
        text = make_key(tmp_path / f"key-{number}", "ecdsa").read_text()
        unpadded += base64.b64decode("".join(text.splitlines()[1:-1])).endswith(b"\0\0\0\0")
        assert parse_private_key(text, "sshPrivateKey").get_name() == "ecdsa-sha2-nistp256"
    assert unpadded
