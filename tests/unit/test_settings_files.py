"""What is checked in agrees with the models: stack files, the engine's schema, the reference, the lab's machines."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from components.settings import Settings, stack_file
from components.settings.known import SECRETS
from components.settings.reference import reference
from components.settings.stack_file import StackFileError, plain_values, stack_settings

ROOT = Path(__file__).resolve().parents[2]
STACKS = ("prod", "lab", "small")
LABS = ("lab", "small")


@pytest.mark.parametrize("stack", STACKS)
def test_the_stack_file_is_valid(stack: str) -> None:
    stack_settings(stack)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "No such file"),
        ("- a", "not a mapping"),
        ("config:", "no attribute"),
        ("other: {}", "'config'"),
        ("a: [", "while parsing"),
    ],
)
def test_what_is_no_stack_file_is_said(
    text: str | None, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_file, "PROJECT", tmp_path)
    if text is not None:
        (tmp_path / "Pulumi.mine.yaml").write_text(text)
    with pytest.raises(StackFileError, match=f"^Pulumi.mine.yaml: .*{re.escape(found)}(.|\n)*Set STACK"):
        plain_values("mine")


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
    settings = stack_settings(lab)
    machines = {(node["name"], node["address"], node["role"], node.get("gpus", 0)) for node in topology["node"]}
    assert {(node.name, str(node.address), str(node.role), node.gpus) for node in settings.nodes} == machines
    assert settings.ssh.user == topology["user"]
    gateway = topology["gateway"].partition("/")[0]
    assert settings.mirrors.images == f"http://{gateway}:5000"


def test_the_small_lab_shares_no_name_address_network_or_user_with_the_other() -> None:
    lab, small = stack_settings("lab"), stack_settings("small")
    assert not {node.name for node in lab.nodes} & {node.name for node in small.nodes}
    assert not {node.address for node in lab.nodes} & {node.address for node in small.nodes}
    assert lab.ssh.user != small.ssh.user
    assert not lab.kubernetes.pod_subnet.overlaps(small.kubernetes.pod_subnet)
    assert not lab.kubernetes.service_subnet.overlaps(small.kubernetes.service_subnet)


def test_production_is_the_manuals_cluster() -> None:
    settings = stack_settings("prod")
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
