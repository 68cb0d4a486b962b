"""The stack config as the engine hands it over: JSON texts, secret keys, a namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import config as runtime
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime.mocks import Mocks

from components.settings import Settings
from components.settings.stack import _address_towards, load
from tests.support.certificates import HOST, issue
from tests.support.settings import VALID

TOP_LEVEL = ", ".join(sorted(str(field.alias) for field in Settings.model_fields.values()))

CANARY = "canary-7f3a"


class NoResources(Mocks):
    """The settings declare none."""

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(args.token)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        raise AssertionError(args.typ)


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    """The stack `test`, and afterwards the config that was there before."""
    before, secrets = runtime.CONFIG.get(), runtime._SECRET_KEYS.get()
    pulumi.runtime.set_mocks(NoResources(), project="qwen3-vl", stack="test")
    yield
    runtime.set_all_config(before, list(secrets))
    runtime_settings.reset_options()


def configure(plain: dict[str, Any], secret: dict[str, str] | None = None) -> pulumi.Config:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in plain.items()}
    keys = {f"qwen3-vl:{key}": value for key, value in texts.items() | (secret or {}).items()}
    runtime.set_all_config(keys, [f"qwen3-vl:{key}" for key in secret or {}])
    return pulumi.Config("qwen3-vl")


def refusal(config: pulumi.Config) -> list[str]:
    with pytest.raises(pulumi.RunError) as caught:
        load(config)
    return str(caught.value).splitlines()


def test_sections_are_read_and_secrets_left_alone() -> None:
    config = configure(VALID, {"redisPassword": CANARY, "sshPrivateKey": CANARY})
    settings = load(config)
    assert len(settings.nodes) == 6
    assert CANARY not in repr(settings)


def test_keys_of_other_namespaces_are_not_ours() -> None:
    config = configure(VALID)
    runtime.set_config("kubernetes:context", "x")
    runtime.set_config("qwen3-vl-extra:nodes", "[]")
    load(config)


def test_every_problem_comes_in_one_error_with_the_file_it_is_in() -> None:
    config = configure(VALID | {"node": [], "inference": {"replicas": 3}, "redis": "plenty"})
    assert refusal(config) == [
        "Pulumi.test.yaml: 3 problems below `qwen3-vl:`",
        f"  node: unknown key; the keys of the top level are {TOP_LEVEL}. Did you mean `nodes`?",
        "  redis: `plenty`; a mapping of keys and values is wanted. Indent the keys below it.",
        "  inference.replicas: 3 replicas for 2 GPUs of 2 workers; each replica takes one GPU. Write 2 or add GPUs to the "
        "workers in `nodes`.",
    ]


def test_a_secret_in_clear_is_refused_and_not_shown() -> None:
    assert refusal(configure(VALID | {"redisPassword": CANARY})) == [
        "Pulumi.test.yaml: 1 problem below `qwen3-vl:`",
        "  redisPassword: stored in clear; it is a secret. Run `pulumi config set --secret redisPassword` and change the "
        "credential: it was in clear.",
    ]


def test_a_secure_value_inside_a_plain_section_is_refused_and_not_shown() -> None:
    plain = {key: value for key, value in VALID.items() if key != "nodes"}
    config = configure(plain, {"nodes": json.dumps([{"name": CANARY}])})
    assert refusal(config) == [
        "Pulumi.test.yaml: 1 problem below `qwen3-vl:`",
        "  nodes: a `secure:` value; plain settings hold no secrets; the secret keys are sshPrivateKey, redisPassword, "
        "redisPasswordPrevious, modelStoreCredential, apiKeys, webuiUsers, gatewayToken, gatewayTokenPrevious, ingressKey, "
        "acmeDns, remoteWriteCredential, alertUrls, alertSigningSecrets, alertSmtpPassword, alertHeartbeatUrl, acmeEabKey, "
        "grafanaAdminPassword, grafanaOidcSecret, logsS3AccessKey, logsS3SecretKey. "
        "Write it in clear or move the secret to its key.",
    ]


def test_the_gateways_certificate_is_judged_with_the_rest_of_the_config(tmp_path: Path) -> None:
    file, at = tmp_path / "own.pem", "ingress.tls.certificateFile"
    config = configure(VALID | {"ingress": {"tls": {"kind": "certificate", "certificateFile": str(file)}}})
    assert refusal(config) == [
        "Pulumi.test.yaml: 1 problem below `qwen3-vl:`",
        f"  {at}: no readable file `{file}`; the certificate is read on this machine. Correct the path or put the file there.",
    ]
    file.write_text(issue("other.example.com").pem)
    assert refusal(config)[1:] == [
        f"  {at}: issued for other.example.com; users ask for ingress.host, `{HOST}`. "
        "Order one for that name or correct ingress.host."
    ]
    file.write_text(issue(HOST).pem)
    assert load(config).ingress.tls.certificate_file == str(file)


def test_a_key_file_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "mirror.asc"
    mirror = {"url": "http://10.0.0.5/debian", "keyFile": str(file)}
    config = configure(VALID | {"mirrors": {"os": mirror}})
    assert refusal(config)[1:] == [
        f"  mirrors.os.keyFile: no readable file `{file}`; the key is read on this machine. Correct the path or fetch the key."
    ]
    file.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    mirrors = load(config).mirrors
    assert mirrors.os is not None
    assert mirrors.os.key_file == str(file)


@pytest.mark.parametrize(
    ("own", "firewall", "refused"),
    [
        ("192.168.1.50", ["10.0.0.0/24"], True),
        ("192.168.1.50", ["10.0.0.0/24", "192.168.1.0/24"], False),
        ("172.16.0.9", ["10.0.0.0/24"], False),  # somebody on the way may give it another address
        (None, ["10.0.0.0/24"], False),
    ],
)
def test_this_machine_is_not_shut_out_where_that_is_known(
    monkeypatch: pytest.MonkeyPatch, own: str | None, firewall: list[str], refused: bool
) -> None:
    monkeypatch.setattr("components.settings.stack._address_towards", lambda _: own and IPv4Address(own))
    config = configure(VALID | {"firewall": {"operatorNetworks": firewall}})
    if refused:
        assert refusal(config)[1:] == [
            "  firewall.operatorNetworks: 192.168.1.50, this machine's address towards `master-1`, lies in none of them; "
            "nobody else may use SSH and the API. Add `192.168.1.50/32`."
        ]
    else:
        load(config)


def test_the_address_of_this_machine_is_the_kernels_own_choice() -> None:
    assert _address_towards(IPv4Address("127.0.0.9")) == IPv4Address("127.0.0.1")
