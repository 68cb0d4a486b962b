"""`PrivateCertificate`: an authority that stays, certificates that are renewed, believed by a real TLS client that trusts it."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pulumi.provider.experimental import provider as rpc

from host import authority
from host.certificates import KeyPair
from host.values import UNKNOWN, plain
from tests.provider.test_serving_certificate import shake_hands
from tests.support.provider import Engine, Known

NAME = "qwen3.example.com"
INPUTS: dict[str, Any] = {"names": [NAME], "addresses": ["10.0.0.200"]}
OTHER: dict[str, Any] = {"names": ["chat.example.com"], "addresses": []}
KEYS = {"authorityKey", "privateKey"}


def run() -> Engine:
    """Nobody is contacted, so nothing has to be there."""
    return Engine({"contact": "never"})


def made() -> Known:
    return run().create("PrivateCertificate", "c", INPUTS)


def outputs(known: Known) -> dict[str, str]:
    found: dict[str, str] = plain(known.outputs)
    return found


def secret(known: Known) -> set[str]:
    return {name for name, value in known.outputs.items() if value.is_secret}


def test_it_is_made_once_and_exactly_its_keys_are_secret() -> None:
    engine = run()
    preview = engine.create("PrivateCertificate", "c", INPUTS, preview=True)
    assert secret(preview) == KEYS
    assert set(outputs(preview).values()) == {UNKNOWN}
    known = engine.create("PrivateCertificate", "c", INPUTS)
    assert secret(known) == KEYS
    assert run().diff(known, INPUTS) == []
    for key in KEYS:
        line = outputs(known)[key].splitlines()[1]
        assert line not in engine.host.secrets.redact(f"the key is {line}")


def test_keys_stay_secret_over_read_and_update() -> None:
    known, engine = made(), run()
    request = rpc.ReadRequest(known.urn, known.name, known.outputs, known.inputs)
    read = engine.wait(engine.host.read(request)).properties
    assert {name for name, value in read.items() if value.is_secret} == KEYS
    assert secret(engine.update(known, OTHER)) == KEYS


def test_a_client_that_trusts_the_authority_believes_its_servers_only(tmp_path: Path) -> None:
    own, other = outputs(made()), outputs(made())
    for name in (NAME, "10.0.0.200"):
        assert shake_hands(own["certificate"], own["privateKey"], own["authority"], name, tmp_path) == NAME
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(other["certificate"], other["privateKey"], own["authority"], NAME, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(own["certificate"], own["privateKey"], own["authority"], "redis.default.svc", tmp_path)


def test_the_authority_signs_servers_and_they_sign_nothing() -> None:
    own = outputs(made())
    signer, leaf = (x509.load_pem_x509_certificate(own[name].encode()) for name in ("authority", "certificate"))
    leaf.verify_directly_issued_by(signer)
    limits = [each.extensions.get_extension_for_class(x509.BasicConstraints).value for each in (signer, leaf)]
    assert [(each.ca, each.path_length) for each in limits] == [(True, 0), (False, None)]
    days = [(each.not_valid_after_utc - each.not_valid_before_utc).days for each in (signer, leaf)]
    assert days == [3650, 397]


def test_other_names_are_another_certificate_of_the_same_authority(tmp_path: Path) -> None:
    known, engine = made(), run()
    assert engine.diff(known, OTHER) == ["addresses", "names"]
    assert "a new certificate for other names, of the same authority" in engine.texts("INFO")
    request = rpc.UpdateRequest(
        known.urn,
        known.name,
        known.merged(),
        engine.wait(engine.check_async("PrivateCertificate", "c", OTHER)).inputs,
        0,
        [],
        True,
    )
    planned = engine.wait(engine.host.update(request)).properties
    assert plain(planned)["authority"] == outputs(known)["authority"], "a preview must not announce another authority"
    assert plain(planned)["certificate"] == UNKNOWN
    new = outputs(engine.update(known, OTHER))
    assert new["authority"] == outputs(known)["authority"]
    assert new["privateKey"] != outputs(known)["privateKey"]
    name = OTHER["names"][0]
    assert shake_hands(new["certificate"], new["privateKey"], outputs(known)["authority"], name, tmp_path) == name


@pytest.mark.parametrize(("left", "due"), [(0.30, True), (0.36, False)])
def test_the_certificate_is_renewed_in_the_last_third_of_its_life(
    left: float, due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = aged(monkeypatch, age=datetime.timedelta(days=authority.LEAF_DAYS * (1 - left)))
    engine = run()
    assert engine.diff(known, INPUTS) == (["certificate", "privateKey"] if due else [])
    assert (f"{NAME}: the certificate comes to its end and is renewed" in engine.texts("INFO")) is due
    if due:
        renewed = engine.update(known, INPUTS)
        assert outputs(renewed)["authority"] == outputs(known)["authority"]
        assert run().diff(renewed, INPUTS) == []


def test_an_authority_is_renewed_before_it_ends_before_its_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = aged(monkeypatch, age=datetime.timedelta(days=authority.AUTHORITY_DAYS - authority.LEAF_DAYS + 1))
    engine = run()
    assert engine.diff(known, INPUTS) == ["authority", "certificate", "privateKey"]
    assert "Give clients the new one: the stack output `ingressCa`" in engine.texts("WARNING")
    old, new = outputs(known), outputs(engine.update(known, INPUTS))
    assert new["authority"] != old["authority"]
    assert new["authorityKey"] == old["authorityKey"]
    for trusted in (old["authority"], new["authority"]):  # clients that were not told yet, too
        assert shake_hands(new["certificate"], new["privateKey"], trusted, NAME, tmp_path) == NAME
    assert run().diff(engine.update(known, INPUTS), INPUTS) == []


def test_a_state_without_an_authority_is_given_one() -> None:
    known = made()
    known.outputs = {name: value for name, value in known.outputs.items() if not name.startswith("authority")}
    engine = run()
    assert engine.diff(known, INPUTS) == ["authority", "certificate", "privateKey"]
    new = outputs(engine.update(known, INPUTS))
    pair = KeyPair(new["authority"], new["authorityKey"])
    assert authority.make_leaf(pair, [NAME], []).certificate


def aged(monkeypatch: pytest.MonkeyPatch, age: datetime.timedelta) -> Known:
    """Made so long ago."""

    class Earlier(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.now(tz) - age

    class Clock:
        datetime, UTC, timedelta = Earlier, datetime.UTC, datetime.timedelta

    with monkeypatch.context() as patched:
        patched.setattr(authority, "datetime", Clock)
        return made()
