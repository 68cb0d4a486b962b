"""`KeyPair`: made once and never again, read by OpenSSL and OpenSSH as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography import x509

from host.values import UNKNOWN, plain
from tests.support.provider import Engine


def run() -> Engine:
    """Nobody is contacted, so nothing has to be there."""
    return Engine({"contact": "never"})


def test_it_stays_and_its_private_half_is_secret() -> None:
    engine = run()
    preview = engine.create("KeyPair", "backup-reader", {}, preview=True).outputs
    assert {plain(value) for value in preview.values()} == {UNKNOWN}
    known = engine.create("KeyPair", "backup-reader", {})
    for found in (preview, known.outputs):
        assert [name for name, value in found.items() if value.is_secret] == ["privateKey"]
    assert run().diff(known, {}) == []
    line = str(plain(known.outputs["privateKey"])).splitlines()[1]
    assert line not in engine.host.secrets.redact(f"the key is {line}")


def test_openssh_and_openssl_read_it(tmp_path: Path) -> None:
    made = {name: str(plain(value)) for name, value in run().create("KeyPair", "backup-login", {}).outputs.items()}
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key.write_text(made["privateKey"])
    key.chmod(0o600)
    certificate.write_text(made["certificate"])
    public = subprocess.run(["ssh-keygen", "-y", "-f", str(key)], check=True, capture_output=True, text=True).stdout
    assert public.split()[:2] == made["publicKey"].split()
    encrypt = ["openssl", "cms", "-encrypt", "-aes-256-gcm", "-outform", "DER", "-recip", str(certificate)]
    sealed = subprocess.run(encrypt, input=b"a backup", check=True, capture_output=True).stdout
    decrypt = ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", str(key)]
    assert subprocess.run(decrypt, input=sealed, check=True, capture_output=True).stdout.strip() == b"a backup"
    read = x509.load_pem_x509_certificate(made["certificate"].encode())
    assert read.not_valid_after_utc.year == 9999
    assert read.subject.rfc4514_string() == "CN=backup-login"
