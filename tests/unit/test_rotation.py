"""Every secret has its place where secrets are looked for, and its way to be changed in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.settings.known import SECRETS
from components.settings.parse import parse
from components.settings.problem import SettingsError
from tests.cluster import test_6_canary
from tests.support.settings import VALID

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/rotation.md").read_text()
# Made by the program, kubeadm or the nodes: no input, so no canary.
MADE = ("internalPasswordGeneration", "encryptionKeyGeneration", "privateCa", "authorizedKeys")
FIRST, SECOND = (f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{letter * 43}" for letter in "AB")


def row(secret: str) -> list[str]:
    """The cells of a secret's line in the table."""
    (found,) = [line for line in DOCUMENT.splitlines() if re.match(rf"\| [^|]*`{secret}`", line)]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_a_canary_is_in_every_secret_input() -> None:
    given = {name.partition(".")[0] for name in test_6_canary.SECRETS} | {"sshPrivateKey"}
    assert given == set(SECRETS)
    assert all(
        test_6_canary.CANARY.replace("-", "") in value.replace("-", "") for value in test_6_canary.SECRETS.values()
    )


@pytest.mark.parametrize("secret", [*(name for name in SECRETS if not name.endswith("Previous")), *MADE])
def test_how_it_is_changed_is_documented_and_tested(secret: str) -> None:
    _, command, happens, tests = row(secret)
    assert command
    assert happens
    named = re.findall(r"`(tests/[\w/.]+)`", tests)
    assert named, f"{secret} has no test"
    assert all((ROOT / path).exists() for path in named), named


def test_what_is_the_old_one_is_told_beside_the_new_one() -> None:
    for secret in SECRETS:
        if secret.endswith("Previous"):
            assert f"`{secret}`" in row(secret.removesuffix("Previous"))[1]


def test_a_key_is_let_in_or_taken_out() -> None:
    ssh = {"authorizedKeys": [FIRST], "revokedKeys": [SECOND, FIRST]}
    with pytest.raises(SettingsError) as caught:
        parse({**VALID, "ssh": {**VALID["ssh"], **ssh}})
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"ssh.revokedKeys: `{FIRST}` is also in ssh.authorizedKeys; ")
    parse({**VALID, "ssh": {**VALID["ssh"], **ssh, "revokedKeys": [SECOND]}})


def test_what_is_no_public_key_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="not a public key") as caught:
        parse({**VALID, "ssh": {**VALID["ssh"], "authorizedKeys": ["-----BEGIN PRIVATE KEY----- canary"]}})
    assert "canary" not in str(caught.value)
