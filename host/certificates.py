"""A serving certificate that signs itself: for servers whose clients are told exactly this certificate."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 3 * 365
RENEW_DAYS = 365
CLOCK_SKEW = datetime.timedelta(hours=1)  # a node's clock may be behind the operator's


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both as PEM; `private_key` is a secret."""

    certificate: str
    private_key: str

    @staticmethod
    def of(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


def make(names: Sequence[str]) -> KeyPair:
    """A new key and its certificate for the DNS `names`, of which the first is also the subject.

    Not an authority: what trusts it trusts one server and nothing that server could sign.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    # RFC 5280 allows 64 characters in a common name; clients read the alternative names only.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair.of(certificate, key)


def ends(certificate: str) -> datetime.datetime:
    """When a certificate (PEM) stops being valid. Raises ValueError if it is none."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def due(certificate: str) -> bool:
    """Whether a certificate (PEM) is to be renewed: less than a third of its life is left, or it cannot be read."""
    try:
        left = ends(certificate) - datetime.datetime.now(datetime.UTC)
    except ValueError:
        return True
    return left < datetime.timedelta(days=RENEW_DAYS)
