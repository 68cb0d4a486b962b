"""The project file and the settings under the real engine: what it checks first, what it hands over, how it shows an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.engine import ROOT, Program
from tests.support.settings import VALID

pytestmark = pytest.mark.engine

CANARY = "canary-b1c9e"
PROGRAM = """
import pulumi
from components.credentials import Credentials
from components.settings.stack import load
settings = load(pulumi.Config())
pulumi.export("api", settings.api_host)
pulumi.export("nodes", len(settings.nodes))
if pulumi.Config().get_secret("apiKeys") is not None:
    digests = Credentials.read(pulumi.Config(), settings.webui, settings.ingress.tls).api_keys
    pulumi.export("keys", pulumi.Output.unsecret(digests.apply(lambda found: " ".join(sorted(found)))))
"""


class Stack:
    """The project's own Pulumi.yaml around a program that only loads the settings."""

    def __init__(self, folder: Path) -> None:
        self.program = Program(folder, PROGRAM)
        declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
        given = yaml.safe_load((folder / "Pulumi.yaml").read_text())
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(given | {"name": "qwen3-vl", "config": declared["config"]}))
        self.file = folder / "Pulumi.prod.yaml"
        self.program.run("stack", "init", "prod", check=True)
        self.salt = yaml.safe_load(self.file.read_text())
        self.program.run("config", "set", "--secret", "redisPassword", CANARY, "--stack", "prod", check=True)

    def preview(self, plain: dict[str, Any], **more: Any) -> tuple[int, str]:
        secrets = dict(yaml.safe_load(self.file.read_text())["config"])
        config = {f"qwen3-vl:{key}": value for key, value in (plain | more).items()}
        for key, secret in secrets.items():
            config.setdefault(key, secret)
        before = self.file.read_text()
        self.file.write_text(yaml.safe_dump(self.salt | {"config": config}))
        done = self.program.run("preview", "--stack", "prod")
        self.file.write_text(before)
        assert CANARY not in done.output
        return done.status, done.output


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return Stack(tmp_path_factory.mktemp("settings"))


def test_the_production_stack_loads(stack: Stack) -> None:
    config = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]
    status, output = stack.preview({key.removeprefix("qwen3-vl:"): value for key, value in config.items()})
    assert status == 0, output
    assert "192.168.1.10" in output


def test_every_mistake_is_shown_at_once_and_without_a_traceback(stack: Stack) -> None:
    broken = {key: value for key, value in VALID.items() if key != "loadBalancer"}
    status, output = stack.preview(broken, loadbalancer={}, inference={"replicas": 3}, redis={"memoryMib": 1.5})
    assert status != 0
    assert "Pulumi.prod.yaml: 4 problems below `qwen3-vl:`" in output
    for start in (
        "loadbalancer: unknown key",
        "loadBalancer.addresses: missing",
        "inference.replicas: 3 replicas for 2 GPUs",
        "redis.memoryMib: the number 1.5",
    ):
        assert f"  {start}" in output
    assert "Traceback" not in output
    assert ".py" not in output


def test_an_empty_stack_is_told_what_to_list(stack: Stack) -> None:
    status, output = stack.preview({})
    assert status != 0
    assert "nodes: no nodes; a cluster needs at least a control plane and a worker. List your machines." in output
    assert "loadBalancer.addresses: missing" in output


def test_a_secret_in_clear_is_refused(stack: Stack) -> None:
    status, output = stack.preview(VALID, redisPassword=CANARY)
    assert status != 0
    assert "redisPassword: stored in clear" in output


def test_a_secure_value_below_a_plain_key_is_refused(stack: Stack) -> None:
    secure = yaml.safe_load(stack.file.read_text())["config"]["qwen3-vl:redisPassword"]
    status, output = stack.preview(VALID, ingress={"host": secure})
    assert status != 0
    assert "ingress: a `secure:` value; plain settings hold no secrets" in output


def test_a_secret_of_several_values_is_set_one_by_one_and_arrives_whole(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    keys = {"alice": f"{CANARY}-key-of-alice-0001", "batch": f"{CANARY}-key-of-batch-0001"}
    for name, key in keys.items():
        stack.program.run("config", "set", "--secret", "--path", f"apiKeys.{name}", key, "--stack", "prod", check=True)
    status, output = stack.preview(VALID)
    assert status == 0, output
    assert "alice batch" in output
    stack.program.run("config", "set", "--secret", "--path", "apiKeys.alice", CANARY, "--stack", "prod", check=True)
    status, output = stack.preview(VALID)
    assert status != 0
    assert "qwen3-vl:apiKeys.alice: not usable; a key is 24 or more" in output
    stack.program.run("config", "set", "--plaintext", "--path", "apiKeys.alice", "x", "--stack", "prod", check=True)
    stack.program.run("config", "rm", "--path", "apiKeys.batch", "--stack", "prod", check=True)
    status, output = stack.preview(VALID)
    assert status != 0
    assert "apiKeys: stored in clear" in output
