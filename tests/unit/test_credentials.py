"""Secrets of the stack config: which are needed, and what a password may be."""

from __future__ import annotations

import pulumi
import pytest

from components.credentials import checked_redis_password, missing
from components.settings.known import SECRETS


def test_a_missing_password_says_what_to_run() -> None:
    (line,) = missing("qwen3-vl", present=set())
    assert line.startswith("qwen3-vl:redisPassword: missing; ")
    assert "pulumi config set --secret redisPassword" in line


def test_the_key_for_ssh_may_be_absent() -> None:
    assert missing("qwen3-vl", present={"redisPassword"}) == []
    assert missing("qwen3-vl", present={"sshPrivateKey"}) != []


def test_every_secret_that_is_read_is_a_known_one() -> None:
    assert {line.split(":")[1] for line in missing("qwen3-vl", present=set())} <= set(SECRETS)


@pytest.mark.parametrize("text", ["twelve-chars", "with inner spaces", "quotes \" and \\ and '", "ünïcödé-päßwörd"])
def test_a_usable_password_stays_as_it_is(text: str) -> None:
    assert checked_redis_password("qwen3-vl", text) == text


@pytest.mark.parametrize(
    "text", ["", "elevenchars", "two lines\nof secret", " leading-space-password", "trailing-newline\n"]
)
def test_an_unusable_password_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(pulumi.RunError, match="redisPassword: not usable") as caught:
        checked_redis_password("qwen3-vl", text)
    assert text == "" or text not in str(caught.value)
