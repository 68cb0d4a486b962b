"""Who we are to a node: a private key from the config or a file, or the SSH agent's keys."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from host.errors import HostError

_KINDS: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def parse_private_key(text: str, where: str) -> paramiko.PKey:
    """Parse a PEM or OpenSSH private key of any usual type.

    `where` names the setting in errors; the text itself never appears in one.
    """
    text = text.strip() + "\n"
    for kind in _KINDS:
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise HostError(
                f"{where}: the private key is protected by a passphrase; a key must be usable unattended. "
                "Use the SSH agent (set neither sshPrivateKey nor ssh.privateKeyFile) or a key without passphrase."
            ) from None
        except (paramiko.SSHException, ValueError, IndexError, TypeError):
            continue
    if (key := _without_comment(text)) is not None:
        return key
    raise HostError(
        f"{where}: not a private key of type ed25519, ecdsa or rsa; a PEM or OpenSSH private key is needed. "
        "Give the whole file, from the BEGIN line to the END line."
    )


def _without_comment(text: str) -> paramiko.PKey | None:
    """What paramiko 5.1 cannot read: its unpadding takes all of an OpenSSH key whose comment is empty and needs no padding."""
    try:
        key = load_ssh_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey(vals=(key, key.public_key()))
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey(key=key)
    return None


class Identity:
    """The keys to offer. Agent keys are listed at each dial; the agent may be filled while we run."""

    def __init__(self, private_key: str | None, private_key_file: str | None) -> None:
        """Raise HostError if a key is given and cannot be used."""
        self._key: paramiko.PKey | None = None
        if private_key:
            self._key, self.source = parse_private_key(private_key, "sshPrivateKey"), "sshPrivateKey"
        elif private_key_file:
            path = Path(private_key_file).expanduser()
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not text"
                raise HostError(
                    f"ssh.privateKeyFile: cannot read {path} ({reason}); the key must be on this machine. "
                    "Correct the path or set the secret sshPrivateKey."
                ) from error
            self._key, self.source = parse_private_key(text, f"ssh.privateKeyFile {path}"), f"key file {path}"
        else:
            self.source = "SSH agent"

    def candidates(self) -> Iterator[paramiko.PKey]:
        """Yield the keys to try, at most five: sshd ends the connection at its sixth refusal."""
        if self._key is not None:
            yield self._key
            return
        if not os.environ.get("SSH_AUTH_SOCK"):
            raise HostError(
                "ssh: no private key and no SSH agent (SSH_AUTH_SOCK is not set); nodes are logged in to by key. "
                "Set the secret sshPrivateKey, ssh.privateKeyFile, or start ssh-agent and ssh-add a key."
            )
        # One agent connection per dial: requests of parallel dials must not mix on one socket.
        agent = paramiko.Agent()
        try:
            keys = agent.get_keys()
            if not keys:
                raise HostError(
                    "ssh: the SSH agent holds no key (or does not answer); nodes are logged in to by key. "
                    "Run ssh-add, or set the secret sshPrivateKey or ssh.privateKeyFile."
                )
            yield from keys[:5]
        finally:
            agent.close()
