"""Secrets of the stack config: which are needed, what each may be, and that what leaves the operator's machine is no secret."""

from __future__ import annotations

import json

import pulumi
import pytest
from chat_webui.api_keys import parse_api_keys
from chat_webui.login import parse_users
from chat_webui.passwords import hash_password

from components.credentials import checked_redis_password, checked_token, checked_users, key_digests, missing
from components.inference.access import api_keys_file
from components.settings.known import SECRETS
from components.settings.tls import Tls
from components.settings.webui import Api, KeyLimits, Login, LoginKind, WebUi

PASSWORD = WebUi(login=Login(kind=LoginKind.PASSWORD))
GATEWAY = WebUi(login=Login(kind=LoginKind.FORWARD_AUTH))
LIMITED = WebUi(api=Api(keys={"batch": KeyLimits()}))
KEY, OTHER = "0123456789abcdef01234567", "another-key-of-28-characters"


def test_a_missing_password_says_what_to_run() -> None:
    (line,) = missing("qwen3-vl", present=set(), webui=WebUi(), tls=Tls())
    assert line.startswith("qwen3-vl:redisPassword: missing; ")
    assert "pulumi config set --secret redisPassword" in line


def test_the_key_for_ssh_and_those_for_the_api_may_be_absent() -> None:
    assert missing("qwen3-vl", present={"redisPassword"}, webui=WebUi(), tls=Tls()) == []
    assert missing("qwen3-vl", present={"sshPrivateKey"}, webui=WebUi(), tls=Tls()) != []


@pytest.mark.parametrize(
    ("webui", "key", "command"),
    [
        (PASSWORD, "webuiUsers", '--path \'webuiUsers["NAME"]\' "$(tools/webui-user hash)"'),
        (GATEWAY, "gatewayToken", "gatewayToken VALUE"),
        (LIMITED, "apiKeys", "--path 'apiKeys.batch' VALUE"),
    ],
)
def test_what_a_setting_needs_is_named_with_the_command(webui: WebUi, key: str, command: str) -> None:
    (line,) = missing("qwen3-vl", present={"redisPassword"}, webui=webui, tls=Tls())
    assert line.startswith(f"qwen3-vl:{key}: missing; ")
    assert f"pulumi config set --secret {command}" in line
    assert key in SECRETS
    assert missing("qwen3-vl", present={"redisPassword", key}, webui=webui, tls=Tls()) == []


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


def test_a_key_leaves_as_its_digest_and_the_web_ui_takes_the_file() -> None:
    digests = key_digests("qwen3-vl", json.dumps({"alice": KEY, "batch-2": OTHER}), ["batch-2"])
    limits = {"batch-2": KeyLimits(requests_in_flight=2, requests_per_minute=60)}
    text = api_keys_file(WebUi(api=Api(keys=limits)), digests)
    assert KEY not in text
    assert OTHER not in text
    known = parse_api_keys(text.encode())
    assert {key.name: (key.in_flight, key.per_minute) for key in known.values()} == {
        "alice": (256, None),
        "batch-2": (2, 60),
    }
    assert set(known) == set(digests.values())
    assert parse_api_keys(api_keys_file(WebUi(), {}).encode()) == {}


@pytest.mark.parametrize(
    ("text", "limited", "said"),
    [
        (json.dumps({"Alice": KEY}), [], "apiKeys: name `Alice`; a name is"),
        (json.dumps({"a" * 41: KEY}), [], "apiKeys: name `aaa"),
        (json.dumps({"alice": KEY[:-1]}), [], "apiKeys.alice: not usable; a key is 24"),
        (json.dumps({"alice": KEY + " x"}), [], "apiKeys.alice: not usable"),
        (json.dumps({"alice": KEY + "\u00fc"}), [], "apiKeys.alice: not usable"),
        (json.dumps({"alice": KEY, "bob": KEY}), [], "apiKeys: two names with one key"),
        (json.dumps({"alice": KEY}), ["batch"], "webui.api.keys.batch: no such key in apiKeys"),
        (json.dumps({"alice": {"nested": KEY}}), [], "apiKeys: not a mapping"),
        (json.dumps([KEY]), [], "apiKeys: not a mapping"),
        (KEY, [], "apiKeys: not a mapping"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_and_not_shown(text: str, limited: list[str], said: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        key_digests("qwen3-vl", text, limited)
    assert f"qwen3-vl:{said}" in str(caught.value)
    assert KEY[:-1] not in str(caught.value)


def test_users_are_what_the_tool_makes_and_the_web_ui_takes_them() -> None:
    users = {"alice": hash_password("correct horse"), "bob@example.com": hash_password("other horse")}
    assert checked_users("qwen3-vl", json.dumps(users)) == users
    assert parse_users(json.dumps(users).encode()) == users


@pytest.mark.parametrize(
    ("users", "said"),
    [
        ({"alice": "in-clear"}, 'webuiUsers["alice"]: not a password hash; passwords are not kept in clear'),
        ({"al ice": hash_password("x")}, "webuiUsers: name `al ice`"),
        ({}, "webuiUsers: empty"),
        ("alice", "webuiUsers: not a mapping"),
    ],
)
def test_users_that_cannot_be_used_are_refused_and_no_hash_is_shown(users: object, said: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        checked_users("qwen3-vl", json.dumps(users))
    assert f"qwen3-vl:{said}" in str(caught.value)
    assert "$scrypt" not in str(caught.value)
    assert "in-clear" not in str(caught.value).replace("kept in clear", "")


@pytest.mark.parametrize("text", ["", "short", KEY + "\n", KEY + "\u00fc", f"{KEY} {KEY}"])
def test_a_token_that_is_no_header_or_can_be_guessed_is_refused_and_not_shown(text: str) -> None:
    assert checked_token("qwen3-vl", KEY) == KEY
    with pytest.raises(pulumi.RunError, match="gatewayToken: not usable") as caught:
        checked_token("qwen3-vl", text)
    assert text == "" or text not in str(caught.value)
