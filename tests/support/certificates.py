"""Certificates as an operator might have them, right and wrong. Made here, so that none in the repository ever ends."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

HOST = "qwen3.example.com"
NOW = datetime.datetime.now(datetime.UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.private(serialization.NoEncryption())

    def private(self, protection: serialization.KeySerializationEncryption) -> str:
        pkcs8 = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, pkcs8, protection).decode()


def ecdsa() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def issue(
    *names: str,
    by: Issued | None = None,
    common_name: str = "",
    key: Key | None = None,
    days: tuple[float, float] = (-1, 90),
) -> Issued:
    """A certificate for DNS `names`, valid between two days counted from now; without `by` it signs itself."""
    key = key or ecdsa()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or (names or ("an authority",))[0])])
    issuer, signer = (by.certificate.subject, by.key) if by else (subject, key)
    start, end = (NOW + datetime.timedelta(days=each) for each in days)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        held = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(held, critical=False)
    unhashed = isinstance(signer, ed25519.Ed25519PrivateKey)
    return Issued(builder.sign(signer, None if unhashed else hashes.SHA256()), key)
