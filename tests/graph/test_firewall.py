"""Packet filter, settings of sshd and upgrades in each node's base: what is there, and what changes with what."""

from __future__ import annotations

import copy
from typing import Any

from tests.support.cluster import build, provider, settings
from tests.support.graph import Graph, record
from tests.support.settings import VALID

RULES = "/etc/qwen3-vl/firewall.nft"


def graph(over: dict[str, Any] | None = None) -> Graph:
    return record(lambda: build(settings(over)), provider)


def script(found: Graph, node: str, name: str) -> dict[str, Any]:
    (each,) = (each for each in found.named(f"{node}-base").inputs["scripts"] if each["name"] == name)
    return dict(each)


def rules(found: Graph, node: str) -> str:
    return str(found.named(f"{node}-base").inputs["files"][RULES]["content"])


def test_every_node_has_a_filter_that_has_to_be_confirmed() -> None:
    found = graph()
    for node in VALID["nodes"]:
        inputs = found.named(f"{node['name']}-base").inputs
        assert RULES in inputs["files"]
        assert "nftables" in inputs["packages"]
        assert inputs["units"]["qwen3-vl-firewall.service"]["enabled"]
        one = script(found, node["name"], "firewall")
        assert 0 < one["confirmSeconds"] < int(one["environment"]["UNDO_SECONDS"])
    assert "2380" in rules(found, "master-1")
    assert "2380" not in rules(found, "gpu-1")
    assert "2049" in rules(found, "storage-1")


def test_a_filter_that_is_off_is_taken_off_the_nodes_without_a_confirmation() -> None:
    found = graph({"firewall": {"enabled": False}})
    inputs = found.named("gpu-1-base").inputs
    assert not [path for path in inputs["files"] if "firewall" in path]
    assert "nftables" not in inputs["packages"]
    one = script(found, "gpu-1", "firewall")
    assert one["environment"]["FIREWALL"] == "off"
    assert "confirmSeconds" not in one


def test_a_node_more_changes_the_filter_of_no_other_that_serves_it_nothing() -> None:
    before = graph()
    nodes = [*copy.deepcopy(VALID["nodes"]), {"name": "gpu-9", "address": "192.168.1.29", "role": "worker", "gpus": 1}]
    after = graph({"nodes": nodes})
    changed = [n["name"] for n in VALID["nodes"] if rules(before, n["name"]) != rules(after, n["name"])]
    assert changed == ["storage-1"], "which names the workers, unless modelStore.clients does"


def test_public_addresses_let_in_each_other_only() -> None:
    nodes = copy.deepcopy(VALID["nodes"])
    nodes[3]["address"] = "8.8.8.8"
    text = rules(graph({"nodes": nodes}), "master-1")
    assert "elements = { 8.8.8.8, 192.168.1.0/24 }" in text


def test_sshd_keeps_its_own_settings_unless_asked() -> None:
    found = graph()
    assert script(found, "gpu-1", "harden_ssh")["environment"]["HARDEN"] == "off"
    assert not [path for path in found.named("gpu-1-base").inputs["files"] if "ssh" in path]
    hard = graph({"ssh": {**VALID["ssh"], "harden": True}})
    one = script(hard, "gpu-1", "harden_ssh")
    assert one["environment"]["HARDEN"] == "on"
    assert 0 < one["confirmSeconds"] < int(one["environment"]["UNDO_SECONDS"])
    inputs = hard.named("gpu-1-base").inputs
    assert "PermitRootLogin prohibit-password" in inputs["files"]["/etc/qwen3-vl/sshd.conf"]["content"]
    assert inputs["units"]["qwen3-vl-ssh-undo.service"]["enabled"]


def test_security_updates_may_be_left_to_somebody_else() -> None:
    on, off = graph(), graph({"upgrades": {"security": False}})
    for found, there in ((on, True), (off, False)):
        inputs = found.named("storage-1-base").inputs
        assert ("unattended-upgrades" in inputs["packages"]) is there
        assert ("apt-daily-upgrade.timer" in inputs["units"]) is there
        assert "Package-Blacklist" in inputs["files"]["/etc/apt/apt.conf.d/60qwen3-vl-upgrades"]["content"]
