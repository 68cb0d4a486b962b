"""What is checked in agrees with the models: stack files, the engine's schema, the reference, the lab's machines."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import Settings
from components.settings.known import SECRETS
from components.settings.parse import parse
from components.settings.reference import reference

ROOT = Path(__file__).resolve().parents[2]
STACKS = ("prod", "lab", "small")
LABS = ("lab", "small")


def plain(stack: str) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    values = {key.removeprefix("qwen3-vl:"): value for key, value in config.items()}
    return {key: value for key, value in values.items() if key not in SECRETS}


@pytest.mark.parametrize("stack", STACKS)
def test_the_stack_file_is_valid(stack: str) -> None:
    parse(plain(stack))


@pytest.mark.parametrize("stack", STACKS)
def test_the_stack_file_holds_no_secret_in_clear(stack: str) -> None:
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    config = yaml.safe_load(text)["config"]
    for key in SECRETS:
        value = config.get(f"qwen3-vl:{key}") or {}
        for each in [value] if "secure" in value else value.values():
            assert re.fullmatch(r"v1:[\w+/=]+:[\w+/=]+", each["secure"])
    assert "PRIVATE KEY" not in text


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_stack_lists_exactly_the_machines_of_its_lab(lab: str) -> None:
    topology = tomllib.loads((ROOT / f"lab/topologies/{lab}.toml").read_text())
    settings = parse(plain(lab))
    machines = {(node["name"], node["address"], node["role"], node.get("gpus", 0)) for node in topology["node"]}
    assert {(node.name, str(node.address), str(node.role), node.gpus) for node in settings.nodes} == machines
    assert settings.ssh.user == topology["user"]
    gateway = topology["gateway"].partition("/")[0]
    assert settings.mirrors.images == f"http://{gateway}:5000"


def test_the_small_lab_shares_no_name_address_network_or_user_with_the_other() -> None:
    lab, small = parse(plain("lab")), parse(plain("small"))
    assert not {node.name for node in lab.nodes} & {node.name for node in small.nodes}
    assert not {node.address for node in lab.nodes} & {node.address for node in small.nodes}
    assert lab.ssh.user != small.ssh.user
    assert not lab.kubernetes.pod_subnet.overlaps(small.kubernetes.pod_subnet)
    assert not lab.kubernetes.service_subnet.overlaps(small.kubernetes.service_subnet)


def test_production_is_the_manuals_cluster() -> None:
    settings = parse(plain("prod"))
    assert [len(settings.control_planes), len(settings.workers)] == [3, 2]
    assert settings.nfs_server == "192.168.1.100"
    assert settings.model_store.path == "/exports/models"
    assert settings.ingress.host == "qwen3.example.com"


def test_the_engine_knows_every_top_level_key_and_no_other() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    assert list(project["config"]) == [field.alias for field in Settings.model_fields.values()]
    for key, declared in project["config"].items():
        # Without a default the engine itself asks for the key, in words of its own and before anything else is checked.
        assert declared["default"] in ([], {}), key
        assert declared["type"] == ("array" if key == "nodes" else "object"), key


def test_every_key_is_described() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    for row in rows:
        meaning = row.rstrip(" |").rpartition(" | ")[2]
        assert meaning, row
        assert meaning != "None", row


def test_the_reference_is_up_to_date() -> None:
    assert (ROOT / "docs/config.md").read_text() == reference(), "run `make docs`"
