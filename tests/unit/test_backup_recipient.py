"""Whose certificate may read backups: the file's own rules."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from components.settings.certificate import recipient_problems
from tests.support.certificates import issue


def test_a_certificate_on_a_curve_is_taken_whatever_its_dates() -> None:
    assert list(recipient_problems(issue("backups", days=(-9, -8)).pem.encode())) == []


@pytest.mark.parametrize(
    ("pem", "found"),
    [
        ("", "not one certificate in PEM"),
        ("nonsense", "not one certificate in PEM"),
        (issue("a").pem + issue("b").pem, "not one certificate in PEM"),
        (issue("a").pem + issue("a").key_pem, "a private key beside the certificate"),
        (issue("a", key=ed25519.Ed25519PrivateKey.generate()).pem, "a key of another kind"),
        (issue("a", key=rsa.generate_private_key(public_exponent=65537, key_size=2048)).pem, "a key of another kind"),
    ],
)
def test_others_are_refused_and_no_key_is_shown(pem: str, found: str) -> None:
    (problem,) = recipient_problems(pem.encode())
    assert (problem.path, problem.found) == ("kubernetes.backup.recipientFile", found)
    assert "PRIVATE" not in str(problem)
