"""Certificates that the operator brings, as files hold them: judged before anything is contacted. Knows no key and shows none."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from components.settings.problem import Problem

PROJECT = Path(__file__).resolve().parents[2]
PATH = "ingress.tls.certificateFile"
RECIPIENT = "kubernetes.backup.recipientFile"
# What browsers accept: CA/Browser Forum's Baseline Requirements 6.1.5, but P-521, which Chromium does not take.
LEAST_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1")


def read(file: str) -> bytes:
    """The file named in the settings. Raises OSError."""
    return (PROJECT / Path(file).expanduser()).read_bytes()


def certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Every certificate of a file, the server's own first. Raises ValueError if there is none or one cannot be read."""
    return tuple(x509.load_pem_x509_certificates(pem))


def life_days(pem: bytes) -> int:
    """How long the server's certificate is valid from its first day to its last one, in whole days."""
    own = certificates(pem)[0]
    return (own.not_valid_after_utc - own.not_valid_before_utc).days


def is_for(pem: bytes, host: str) -> bool:
    """`pem` is a sound chain."""
    return any(_covers(name, host) for name in _names(certificates(pem)[0]))


def problems(pem: bytes, host: str, now: datetime.datetime) -> Iterator[Problem]:
    """What keeps clients from accepting it for `host`."""
    if b"PRIVATE KEY" in pem:
        rule = "the key is a secret"
        remedy = "Run `pulumi config set --secret ingressKey < KEY.pem` and leave only certificates in the file"
        yield Problem(PATH, "a private key beside the certificate", rule, remedy)
        return
    try:
        chain = certificates(pem)
    except ValueError:
        rule = "it holds certificates in PEM, the server's own first"
        yield Problem(PATH, "no certificate that can be read", rule, "Convert it with `openssl x509 -outform PEM`")
        return
    if unsigned := next((number for number, pair in enumerate(pairwise(chain), 1) if not _signed(*pair)), None):
        rule = "each is signed by the one behind it, the server's own is first"
        found = f"certificate {unsigned} of {len(chain)} is not signed by certificate {unsigned + 1}"
        yield Problem(PATH, found, rule, "Put the intermediates behind the server's certificate, in order")
        return
    yield from _dates(chain, now)
    if not any(_covers(name, host) for name in _names(chain[0])):
        names = ", ".join(_names(chain[0])) or "none"
        rule = f"users ask for ingress.host, `{host}`"
        yield Problem(PATH, f"issued for {names}", rule, "Order one for that name or correct ingress.host")
    key = chain[0].public_key()
    strong = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA_BITS) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES
    )
    if not strong:
        rule = f"browsers accept RSA from {LEAST_RSA_BITS} bits and ECDSA on P-256 or P-384"
        yield Problem(PATH, "a key of another kind or size", rule, "Order one with such a key")


def recipient_problems(pem: bytes) -> Iterator[Problem]:
    """What keeps OpenSSL from encrypting for it as the backups are. Its dates do not matter: it is a key with a name."""
    rule = "backups are encrypted for one certificate with a key on P-256 or P-384"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=backups -keyout KEY.pem -out FILE"
    found = ""
    if b"PRIVATE KEY" in pem:
        found = "a private key beside the certificate"
        rule = "who can encrypt must not be able to read"
    else:
        try:
            (one,) = certificates(pem)
        except ValueError:
            found = "not one certificate in PEM"
        else:
            key = one.public_key()
            if not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES):
                found = "a key of another kind"
    if found:
        yield Problem(RECIPIENT, found, rule, f"Keep KEY.pem elsewhere and name the other: `{make}`")


def _dates(chain: tuple[x509.Certificate, ...], now: datetime.datetime) -> Iterator[Problem]:
    for number, each in enumerate(chain, 1):
        which = "the certificate" if number == 1 else f"certificate {number} of {len(chain)}"
        if each.not_valid_after_utc < now:
            found = f"{which} ended on {each.not_valid_after_utc:%Y-%m-%d}"
            yield Problem(PATH, found, "no client accepts it any more", "Put the renewed one there")
        elif each.not_valid_before_utc > now:
            found = f"{which} is valid from {each.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
            yield Problem(PATH, found, "no client accepts it before", "Wait until then or correct this machine's clock")


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []  # clients have not read the common name for years
    return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]


def _covers(name: str, host: str) -> bool:
    """RFC 6125, 6.4.3: a `*` stands for the whole first label."""
    return name == host or (name.startswith("*.") and name[1:] == host[host.find(".") :] and "." in host)
