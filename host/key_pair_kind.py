"""The type `KeyPair`: made once and kept in the state, its private half encrypted. Contacts nobody, and is never renewed: what
was encrypted for it is read by it only. Another one is made by `up --replace`."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue

from host.certificates import CLOCK_SKEW, KeyPair
from host.kinds import Kind
from host.values import UNKNOWN, Properties, property_of

# RFC 5280, 4.1.2.5: the date of a certificate that has no good end.
NO_END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def make(name: str) -> tuple[KeyPair, str]:
    """A new pair on P-256 with a certificate for who encrypts by CMS, and its public half as OpenSSH writes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.UTC) - CLOCK_SKEW
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), start, NO_END)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return KeyPair.of(certificate, key), public.decode()


class KeyPairType(Kind):
    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        if request.preview:
            later = PropertyValue(UNKNOWN)
            return rpc.CreateResponse(
                None, {"certificate": later, "publicKey": later, "privateKey": later.with_secret(True)}
            )
        return rpc.CreateResponse(request.name, self._made(request.name))

    def _made(self, name: str) -> Properties:
        pair, public = make(name)
        self.run.secrets.add(pair.private_key)
        return {
            "certificate": property_of(pair.certificate),
            "publicKey": property_of(public),
            "privateKey": property_of(pair.private_key, secret=True),
        }
