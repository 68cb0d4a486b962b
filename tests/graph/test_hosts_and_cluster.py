"""The graph of the hosts and cluster layers: who owns what, who waits for whom, what an edit of the node list changes."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import pytest
from pulumi.runtime.mocks import MockResourceArgs

from tests.support.cluster import LAB_LIKE, build, provider, settings
from tests.support.graph import Graph, Secret, record
from tests.support.settings import VALID

CONFIGURATION = "host:index:Configuration"


def graph(over: dict[str, Any] | None = None) -> Graph:
    return record(lambda: build(settings(over)), provider)


def without(*names: str) -> dict[str, Any]:
    nodes = [node for node in copy.deepcopy(VALID)["nodes"] if node["name"] not in names]
    return {"nodes": nodes, "inference": {"replicas": 1, "allowOutage": True}}


@pytest.fixture(scope="module")
def whole() -> Graph:
    return graph()


def test_every_resource_belongs_to_a_component(whole: Graph) -> None:
    for resource in whole.resources:
        parent = whole.by_urn.get(resource.parent)
        if parent is None:
            assert resource.type.startswith(("qwenvl:", "pulumi:providers:host")), resource.name
        else:
            assert parent.type.startswith("qwenvl:"), resource.name


def test_at_most_four_configurations_a_node(whole: Graph) -> None:
    counts = Counter(r.inputs["connection"]["node"] for r in whole.of_type(CONFIGURATION))
    assert counts == {"master-1": 3, "master-2": 3, "master-3": 3, "gpu-1": 4, "gpu-2": 4, "storage-1": 2}


def test_nothing_is_changed_before_preflight_has_passed(whole: Graph) -> None:
    for node in VALID["nodes"]:
        keeps = {"backup-login"} if node["role"] != "worker" else set()  # a key, made here
        assert whole.dependency_names(f"{node['name']}-base") == {"preflight"} | keeps


def test_steps_of_a_node_follow_each_other(whole: Graph) -> None:
    assert whole.dependency_names("gpu-1-kubernetes") == {"gpu-1-base"}
    assert "gpu-1-kubernetes" in whole.dependency_names("gpu-1-member")


def test_control_planes_are_chained(whole: Graph) -> None:
    assert whole.dependency_names("master-1-member") >= {"master-1-kubernetes"}
    assert "master-1-member" in whole.dependency_names("master-2-member")
    assert "master-2-member" in whole.dependency_names("master-3-member")
    assert "master-3-member" not in whole.dependency_names("master-2-member")


def test_workers_wait_for_the_first_control_plane_only(whole: Graph) -> None:
    for worker in ("gpu-1", "gpu-2"):
        assert whole.dependency_names(f"{worker}-member") == {f"{worker}-kubernetes", "master-1-member"}


def test_a_worker_taken_from_the_middle_leaves_everything_else_equal(whole: Graph) -> None:
    smaller = graph(without("gpu-1"))
    gone = {r.urn for r in whole.resources} - {r.urn for r in smaller.resources}
    assert {whole.by_urn[urn].name for urn in gone} == {
        "gpu-1-facts",
        "gpu-1-base",
        "gpu-1-gpu",
        "gpu-1-kubernetes",
        "gpu-1-member",
    }
    assert {r.urn for r in smaller.resources} < {r.urn for r in whole.resources}
    for resource in smaller.resources:
        # A machine that is no worker any longer may not read the models any longer, nor reach their server.
        if resource.name not in ("storage-1-nfs", "storage-1-base"):
            assert resource.inputs == whole.by_urn[resource.urn].inputs, resource.name
    readers = smaller.named("storage-1-nfs").inputs["files"]["/etc/exports.d/qwen3-vl.exports"]["content"]
    assert "192.168.1.22(" in readers
    assert "192.168.1.21(" not in readers


def test_a_replaced_first_control_plane_changes_only_peers_and_the_endpoint(whole: Graph) -> None:
    """Peers are never a planned change; keepalived has to know who shares the address, and backups who keeps them."""
    nodes = [n for n in copy.deepcopy(VALID)["nodes"] if n["name"] != "master-1"]
    nodes.append({"name": "master-4", "address": "192.168.1.14", "role": "control-plane"})
    other = graph({"nodes": nodes})
    for name in ("master-2-member", "master-3-member", "gpu-1-member"):
        before, after = whole.named(name).inputs, other.named(name).inputs
        assert before.pop("peers") != after.pop("peers")
        before, after = copy.deepcopy(before), copy.deepcopy(after)
        for inputs in (before, after):
            for shared in ("keepalived/keepalived.conf", "qwen3-vl/backup/keepers", "qwen3-vl/backup/known_hosts"):
                inputs["files"].pop(f"/etc/{shared}", None)
        assert before == after, name


def test_removal_of_a_worker_drains_resets_and_deletes_in_that_order(whole: Graph) -> None:
    steps = [(step["name"], step["on"]) for step in whole.named("gpu-1-member").inputs["removal"]]
    assert steps == [("drain_node", "peer"), ("reset_node", "node"), ("delete_node", "peer")]


def test_removal_of_a_control_plane_leaves_etcd_before_its_own_copy_is_erased(whole: Graph) -> None:
    steps = [step["name"] for step in whole.named("master-2-member").inputs["removal"]]
    assert steps == ["drain_node", "leave_control_plane", "remove_etcd_member", "reset_node", "delete_node"]


def test_the_last_control_plane_is_reset_only_when_the_settings_say_so(whole: Graph) -> None:
    def asked(found: Graph) -> str:
        (reset,) = [s for s in found.named("master-1-member").inputs["removal"] if s["name"] == "reset_node"]
        return str(reset["environment"]["RESET_LAST_CONTROL_PLANE"])

    assert asked(whole) == "no"
    assert asked(graph({"destroy": {"resetLastControlPlane": True}})) == "yes"


def test_join_material_is_named_never_carried(whole: Graph) -> None:
    """Tokens and keys are minted at the moment of joining: nothing of the kind is in any input."""
    for node in ("master-2", "gpu-1"):
        (join,) = [s for s in whole.named(f"{node}-member").inputs["scripts"] if s["name"].startswith("join_")]
        assert join["material"] == "components/cluster/scripts/mint_join_material.sh"
        assert not join.get("stdin")
        assert not any("token" in key.lower() or "secret" in key.lower() for key in join["environment"])


def test_no_peer_is_the_node_itself(whole: Graph) -> None:
    for resource in whole.of_type(CONFIGURATION):
        peers = [peer["node"] for peer in resource.inputs.get("peers") or []]
        assert resource.inputs["connection"]["node"] not in peers


def test_kubeconfig_is_secret_and_the_provider_is_identified_by_the_cluster(whole: Graph) -> None:
    inputs = whole.named("cluster").inputs
    assert isinstance(inputs["kubeconfig"], Secret)
    assert inputs["clusterIdentifier"] == "ca-digest"


def test_the_interface_comes_from_the_facts(whole: Graph) -> None:
    conf = whole.named("master-1-member").inputs["files"]["/etc/keepalived/keepalived.conf"]["content"]
    assert "interface enp1s0" in conf


def test_one_control_plane_without_an_address_needs_no_keepalived() -> None:
    config = without("master-2", "master-3") | {"kubernetes": {"version": "1.34.2"}}
    member = graph(config).named("master-1-member").inputs
    assert "keepalived" not in str(member["files"]) + json.dumps(member["packages"]) + json.dumps(member["units"])
    assert "192.168.1.11:6443" in member["files"]["/etc/kubeadm/init.yaml"]["content"]


def test_control_planes_fetch_their_images_before_their_turn(whole: Graph) -> None:
    scripts = {name: whole.named(f"{name}-kubernetes").inputs.get("scripts") or [] for name in ("master-2", "gpu-1")}
    assert [script["name"] for script in scripts["master-2"]] == ["pull_images"]
    assert scripts["gpu-1"] == []


def test_own_time_servers_replace_the_public_pool(whole: Graph) -> None:
    path = "/etc/chrony/chrony.conf"
    assert path not in whole.named("storage-1-base").inputs["files"]
    own = graph({"mirrors": {"time": ["10.0.0.1"]}}).named("storage-1-base").inputs
    assert "server 10.0.0.1 iburst" in own["files"][path]["content"]
    assert own["units"]["chrony.service"]["restartOn"] == [path]


def test_storage_nodes_get_no_kubernetes(whole: Graph) -> None:
    inputs = whole.named("storage-1-base").inputs
    assert [s["name"] for s in inputs["scripts"]] == ["backup_keeper", "firewall", "harden_ssh"]
    assert not inputs["sysctls"]


def test_findings_reach_the_gate() -> None:
    def broken(args: MockResourceArgs) -> dict[str, Any]:
        found = provider(args)
        if args.typ == "host:index:Facts" and args.inputs["connection"]["node"] == "gpu-1":
            found["facts"] = {**found["facts"], "os": {"id": "centos", "versionId": "7"}}
        return found

    gate = record(lambda: build(settings()), broken).named("preflight").inputs
    assert [finding.split(";")[0] for finding in gate["findings"]] == ["[os] gpu-1: centos 7"]


def test_lab_like_settings_fetch_no_key_and_keep_swap(whole: Graph) -> None:
    lab = graph(LAB_LIKE)
    assert [s["name"] for s in whole.named("gpu-1-base").inputs["scripts"]] == [
        "trust_apt_key-kubernetes",
        "trust_apt_key-nvidia-container-toolkit",
        "trust_apt_key-cuda",
        "load_modules",
        "swap_off",
        "model_cache_folder",
        "firewall",
        "harden_ssh",
    ]
    kept = [s["name"] for s in lab.named("gpu-1-base").inputs["scripts"]]
    assert kept == ["load_modules", "model_cache_folder", "firewall", "harden_ssh"]


def test_the_storage_node_exports_after_its_base_and_before_nothing_else(whole: Graph) -> None:
    assert whole.dependency_names("storage-1-nfs") == {"storage-1-base"}
    assert list(whole.named("storage-1-nfs").inputs["packages"]) == ["nfs-kernel-server"]
    ganesha = graph({"modelStore": {"nfsServer": "ganesha"}}).named("storage-1-nfs").inputs
    assert sorted(ganesha["packages"]) == ["nfs-ganesha", "nfs-ganesha-vfs"]
    (unit,) = ganesha["units"].items()
    assert unit[0] == "nfs-ganesha.service"
    assert set(unit[1]["restartOn"]) < set(ganesha["files"])


@pytest.mark.parametrize("store", [{"server": "nfs.example.com"}, {"kind": "folder"}])
def test_what_is_not_served_from_here_is_not_exported_here(store: dict[str, str]) -> None:
    assert not [r for r in graph({"modelStore": store}).resources if r.name == "storage-1-nfs"]


def gpu_nodes(found: Graph) -> set[str]:
    return {r.name.removesuffix("-gpu") for r in found.of_type(CONFIGURATION) if r.name.endswith("-gpu")}


def test_only_workers_with_gpus_get_a_driver_and_nvidias_keys() -> None:
    nodes = copy.deepcopy(VALID)["nodes"]
    nodes[4]["gpus"] = 0
    found = graph({"nodes": nodes, "inference": {"replicas": 1, "allowOutage": True}})
    assert gpu_nodes(found) == {"gpu-1"}
    names = {name: [s["name"] for s in found.named(f"{name}-base").inputs["scripts"]] for name in ("gpu-2", "master-1")}
    common, last = ["trust_apt_key-kubernetes", "load_modules", "swap_off"], ["firewall", "harden_ssh"]
    assert names == {
        "gpu-2": [*common, "model_cache_folder", *last],
        "master-1": [*common, "backup_keeper", *last],
    }
    path = "/etc/containerd/conf.d/nvidia.toml"
    assert path in found.named("gpu-1-kubernetes").inputs["files"]
    assert path not in found.named("gpu-2-kubernetes").inputs["files"]
    assert path in found.named("gpu-1-kubernetes").inputs["units"]["containerd.service"]["restartOn"]


def test_a_driver_waits_for_its_own_node_only(whole: Graph) -> None:
    assert whole.dependency_names("gpu-1-gpu") == {"gpu-1-base", "gpu-1-facts"}


def test_packages_follow_the_nodes_distribution_kernel_and_gpus() -> None:
    def mixed(args: MockResourceArgs) -> dict[str, Any]:
        found = provider(args)
        if args.typ == "host:index:Facts" and args.inputs["connection"]["node"] == "gpu-2":
            own = {"os": {"id": "debian", "versionId": "12"}, "kernel": "6.1.0-25-amd64", "gpus": ["10de:1db6"]}
            found["facts"] = {**found["facts"], **own}
        return found

    both = record(lambda: build(settings()), mixed)
    first, second = (both.named(f"gpu-{n}-gpu").inputs for n in (1, 2))
    assert first["packages"] == {
        "linux-headers-6.8.0-41-generic": "",
        "dkms": "",
        "libnvidia-compute-580": "580.95.05-0ubuntu1",
        "nvidia-compute-utils-580": "580.95.05-0ubuntu1",
        "nvidia-kernel-common-580": "580.95.05-0ubuntu1",
        "nvidia-dkms-580-open": "580.95.05-0ubuntu1",
        "nvidia-kernel-source-580-open": "580.95.05-0ubuntu1",
        "nvidia-utils-580": "580.95.05-0ubuntu1",
        "nvidia-container-toolkit-base": "1.18.0-1",
    }
    assert second["packages"].keys() >= {"linux-headers-6.1.0-25-amd64", "nvidia-kernel-dkms"}
    assert second["scripts"][0]["environment"]["MODULE"] == "proprietary"
    assert "/ubuntu2404/" in first["files"]["/etc/apt/sources.list.d/cuda.list"]["content"]
    assert "/debian12/" in second["files"]["/etc/apt/sources.list.d/cuda.list"]["content"]


def test_a_driver_of_somebody_else_is_verified_only() -> None:
    found = graph({"gpu": {"driver": {"owner": "installed"}}}).named("gpu-1-gpu").inputs
    assert found["packages"] == {"nvidia-container-toolkit-base": "1.18.0-1"}
    (script,) = found["scripts"]
    assert script["environment"] == {"OWNER": "installed"}
    assert not script.get("material"), "no pod is moved for a driver that is not ours to exchange"
    assert [path for path in found["files"] if "modprobe" in path or "preferences" in path] == []


def test_the_operator_owns_all_of_it() -> None:
    found = graph({"gpu": {"driver": {"owner": "operator"}}, "autoscaling": {"gpuUtilization": 0}})
    assert gpu_nodes(found) == set()
    assert "/etc/containerd/conf.d/nvidia.toml" not in found.named("gpu-1-kubernetes").inputs["files"]
    assert "nvidia" not in json.dumps([s["name"] for s in found.named("gpu-1-base").inputs["scripts"]])


def test_one_mirror_serves_driver_and_toolkit() -> None:
    found = graph(LAB_LIKE).named("gpu-1-gpu").inputs
    assert [path for path in found["files"] if "sources" in path] == ["/etc/apt/sources.list.d/nvidia.list"]
    assert "/etc/apt/keyrings/nvidia.asc" in found["files"]


def test_pods_are_moved_away_before_a_driver_is_exchanged_and_the_node_comes_back(whole: Graph) -> None:
    scripts = whole.named("gpu-1-gpu").inputs["scripts"]
    assert [(s["name"], s["material"].rpartition("/")[2]) for s in scripts] == [
        ("gpu_driver", "vacate_node.sh"),
        ("return_to_service", "readmit_node.sh"),
    ]
    assert [peer["node"] for peer in whole.named("gpu-1-gpu").inputs["peers"]] == ["master-1", "master-2", "master-3"]


def test_policies_are_enforced_on_nodes_that_have_joined(whole: Graph) -> None:
    (agent,) = whole.of_type("qwenvl:cluster:NetworkPolicyAgent")
    waits = {whole.by_urn[urn].name for urn in agent.dependencies}
    assert waits >= {"gpu-1-member", "gpu-2-member", "master-3-member", "flannel"}


def test_without_policies_there_is_no_agent() -> None:
    kubernetes = VALID["kubernetes"] | {"networkPolicies": False}
    assert not [r for r in graph({"kubernetes": kubernetes}).resources if "network-policy" in r.name]
