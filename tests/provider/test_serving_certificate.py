"""`ServingCertificate`: made once and kept, trusted as it is by a real TLS client, renewed before it ends."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from host import certificates
from host.values import UNKNOWN, plain
from tests.support.provider import Engine

NAME = "metrics-server.observability.svc"
INPUTS = {"names": [NAME]}


def run() -> Engine:
    """Nobody is contacted, so nothing has to be there."""
    return Engine({"contact": "never"})


def shake_hands(certificate: str, key: str, trusted: str, name: str, folder: Path) -> str:
    """The subject a verifying client sees; raises ssl.SSLError when it refuses."""
    (folder / "tls.crt").write_text(certificate)
    (folder / "tls.key").write_text(key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    client = ssl.create_default_context(cadata=trusted)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (here, there, here, there):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    found: Any = here.getpeercert()
    return str(dict(pair for (pair,) in found["subject"])["commonName"])


def test_it_is_made_once_and_its_key_is_secret() -> None:
    engine = run()
    preview = engine.create("ServingCertificate", "c", INPUTS, preview=True).outputs
    assert preview["privateKey"].is_secret
    assert {plain(value) for value in preview.values()} == {UNKNOWN}
    known = engine.create("ServingCertificate", "c", INPUTS)
    assert known.outputs["privateKey"].is_secret
    assert not known.outputs["certificate"].is_secret
    assert run().diff(known, INPUTS) == []
    assert run().diff(known, {"names": ["other.svc"]}) == ["names"]
    line = str(plain(known.outputs["privateKey"])).splitlines()[1]
    assert line not in engine.host.secrets.redact(f"the key is {line}")


def test_a_client_that_is_told_the_certificate_believes_its_server_only(tmp_path: Path) -> None:
    made, other = (plain(run().create("ServingCertificate", "c", INPUTS).outputs) for _ in range(2))
    assert shake_hands(made["certificate"], made["privateKey"], made["certificate"], NAME, tmp_path) == NAME
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        shake_hands(other["certificate"], other["privateKey"], made["certificate"], NAME, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(made["certificate"], made["privateKey"], made["certificate"], "redis.default.svc", tmp_path)


def test_it_can_sign_nothing() -> None:
    made = plain(run().create("ServingCertificate", "c", INPUTS).outputs)
    certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert certificates.RENEW_DAYS * 3 == certificates.VALID_DAYS


def test_it_is_renewed_in_the_last_third_of_its_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "VALID_DAYS", certificates.RENEW_DAYS - 1)
    old = run().create("ServingCertificate", "c", INPUTS)
    monkeypatch.undo()
    engine = run()
    assert engine.diff(old, INPUTS) == ["certificate", "privateKey"]
    assert f"{NAME}: the certificate comes to its end and is renewed" in engine.texts("INFO")
    renewed = engine.update(old, INPUTS)
    assert plain(renewed.outputs["privateKey"]) != plain(old.outputs["privateKey"])
    left = certificates.ends(plain(renewed.outputs["certificate"])) - datetime.datetime.now(datetime.UTC)
    assert left > datetime.timedelta(days=certificates.VALID_DAYS - 1)
    assert run().diff(renewed, INPUTS) == []
