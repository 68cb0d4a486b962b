"""An authority of one's own and what it signs: for servers whose clients are told to trust that authority.

An X.509 profile after RFC 5280, 4.2: the authority may sign servers and no further authorities.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from host.certificates import CLOCK_SKEW, KeyPair

AUTHORITY_DAYS = 3650
# The longest that every browser takes: 398 days of a public authority, 825 of one that the user added (Apple's rule).
LEAF_DAYS = 397


def make_authority(former: KeyPair | None = None) -> KeyPair:
    """A new authority, or the `former` one with new years: the same name and key, so that clients who trust the former
    certificate believe what is signed from now on, too. Raises ValueError if `former` cannot be read."""
    if former is None:
        key = ec.generate_private_key(ec.SECP256R1())
        # A number, so that two authorities in one trust store are told apart.
        common = f"qwen3-vl private CA {x509.random_serial_number():040x}"[:28]
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    else:
        key = _key(former)
        name = x509.load_pem_x509_certificate(former.certificate.encode()).subject
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return KeyPair.of(certificate, key)


def make_leaf(authority: KeyPair, names: Sequence[str], addresses: Sequence[str]) -> KeyPair:
    """A new key and its server certificate for DNS `names`, of which the first is also the subject, and IP `addresses`.

    Raises ValueError if the authority's key cannot be read.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_key = _key(authority)
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    # RFC 5280 allows 64 characters in a common name; clients read the alternative names only.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    held = [*map(x509.DNSName, names), *(x509.IPAddress(ipaddress.ip_address(each)) for each in addresses)]
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName(held), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return KeyPair.of(certificate, key)


def leaf_due(certificate: str) -> bool:
    """Whether less than a third of a certificate's life (PEM) is left, or it cannot be read."""
    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        return True
    return _left(read) < (read.not_valid_after_utc - read.not_valid_before_utc) / 3


def authority_due(certificate: str) -> bool:
    """Whether an authority (PEM) would end before what it signs now, or cannot be read."""
    try:
        return _left(x509.load_pem_x509_certificate(certificate.encode())) < datetime.timedelta(days=LEAF_DAYS)
    except ValueError:
        return True


def _left(certificate: x509.Certificate) -> datetime.timedelta:
    return certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _key(pair: KeyPair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pair.private_key.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an ECDSA key")
    return key
