"""Which nodes a lab may have: the checked-in files, and what is refused with which words."""

from copy import deepcopy
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lab import topology
from lab.machine import LabError

VALID: dict[str, Any] = {
    "gateway": "10.9.0.1/24",
    "user": "root",
    "reserved": ["10.9.0.10", "10.9.0.200-10.9.0.220"],
    "ranges": {
        "control-plane": "10.9.0.11-10.9.0.13",
        "worker": "10.9.0.21-10.9.0.22",
        "storage": "10.9.0.31-10.9.0.31",
    },
    "node": [
        {"name": "m1", "role": "control-plane", "address": "10.9.0.11"},
        {"name": "g1", "role": "worker", "address": "10.9.0.21", "gpus": 1},
    ],
}


def parsed(**changes: Any) -> topology.Topology:
    return topology.parse("tiny", {**deepcopy(VALID), **changes}, "tiny.toml")


def node(**changes: Any) -> dict[str, Any]:
    return {"name": "n1", "role": "worker", "address": "10.9.0.22", **changes}


def test_reference_lab_survives_the_loss_of_any_one_node() -> None:
    lab = topology.load("lab")
    roles = [found.role for found in lab.nodes]
    assert roles.count("control-plane") == 3
    assert sum(found.gpus for found in lab.nodes if found.role == "worker") >= 2
    assert {str(found.address) for found in lab.nodes} == {
        "10.77.0.11", "10.77.0.12", "10.77.0.13", "10.77.0.21", "10.77.0.22", "10.77.0.31",
    }  # fmt: skip


def test_small_lab_shares_nothing_with_the_reference_lab() -> None:
    lab, small = topology.load("lab"), topology.load("small")
    assert not lab.gateway.network.overlaps(small.gateway.network)
    assert not {found.name for found in lab.nodes} & {found.name for found in small.nodes}
    assert (lab.user, small.user) == ("root", "ops")


@pytest.mark.parametrize("name", topology.available())
def test_interface_names_fit_the_kernel_even_for_the_longest_node(name: str) -> None:
    lab = topology.load(name)
    assert len(lab.bridge) <= 15
    assert len(lab.veth("n" * 9)) <= 15


def test_two_labs_with_one_first_letter_are_refused(tmp_path: Path) -> None:
    source = (topology.TOPOLOGIES / "small.toml").read_text()
    (tmp_path / "small.toml").write_text(source)
    assert topology.load("small", tmp_path).name == "small"
    (tmp_path / "spare.toml").write_text(source)
    with pytest.raises(LabError, match="shares its first letter with spare"):
        topology.load("small", tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (node(name="Node_1"), r"node\[0\]\.name: 'Node_1'"),
        (node(name="a-very-long-name"), r"at most 9"),
        (node(name="ends-"), r"node\[0\]\.name"),
        (node(role="gpu"), r"node\[0\]\.role: 'gpu'; one of control-plane, worker, storage"),
        (node(address="10.9.0"), r"node\[0\]\.address: '10.9.0'"),
        (node(gpus="1"), r"node\[0\]\.gpus: '1'"),
        (node(gpus=True), r"node\[0\]\.gpus"),
        (node(gpus=17), r"node\[0\]\.gpus: 17"),
        (node(disk=3), r"unknown field disk"),
        (node(address="10.8.0.22"), r"n1: address 10\.8\.0\.22 is outside 10\.9\.0\.0/24"),
        (node(address="10.9.0.1"), r"belongs to the gateway"),
        (node(address="10.9.0.10"), r"reserved"),
        (node(address="10.9.0.210"), r"reserved"),
    ],
)
def test_a_wrong_node_is_refused_by_field(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(LabError, match=message):
        parsed(node=[wrong])


def test_names_and_addresses_are_unique() -> None:
    with pytest.raises(LabError, match="n1 appears twice"):
        parsed(node=[node(), node(address="10.9.0.21")])
    with pytest.raises(LabError, match=r"n2: address 10\.9\.0\.22 belongs to n1"):
        parsed(node=[node(), node(name="n2")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gateway": "10.9.0.300/24"}, "gateway: '10.9.0.300/24'"),
        ({"reserved": ["10.9.0.20-10.9.0.10"]}, "the first address comes after the last"),
        ({"ranges": {"worker": "10.9.0.21-10.9.0.22"}}, "ranges.control-plane is missing"),
    ],
)
def test_a_wrong_file_is_refused_by_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LabError, match=message):
        parsed(**changes)


def test_a_missing_key_and_broken_toml_are_named(tmp_path: Path) -> None:
    data = deepcopy(VALID)
    del data["user"]
    with pytest.raises(LabError, match="user is missing"):
        topology.parse("tiny", data, "tiny.toml")
    (tmp_path / "tiny.toml").write_text("gateway = ")
    with pytest.raises(LabError, match=r"tiny\.toml: "):
        topology.load("tiny", tmp_path)
    with pytest.raises(LabError, match="LAB=nope: no such topology; one of tiny"):
        topology.load("nope", tmp_path)


def test_next_address_is_the_first_of_the_range_never_used() -> None:
    lab = parsed()
    assert lab.next_address("worker", [IPv4Address("10.9.0.21")]) == IPv4Address("10.9.0.22")
    with pytest.raises(LabError, match=r"worker: every address from 10\.9\.0\.21 to 10\.9\.0\.22 was used"):
        lab.next_address("worker", [IPv4Address("10.9.0.21"), IPv4Address("10.9.0.22")])
