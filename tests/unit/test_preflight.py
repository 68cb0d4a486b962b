"""Preflight by table: a healthy node with one thing changed, and exactly what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from components.hosts.facts import NodeFacts, parse
from components.hosts.preflight import Report, preflight
from components.settings import Gpu, Inference, Kubernetes, Node, Preflight, Role
from components.settings import nodes as node_settings

HEALTHY: dict[str, Any] = {
    "hostname": "n1",
    "machineId": "aaaa",
    "os": {"id": "ubuntu", "versionId": "22.04"},
    "kernel": "5.15.0-112-generic",
    "architecture": "x86_64",
    "cpus": 32,
    "memoryMib": 64 * 1024,
    "rootDiskGib": 2000.0,
    "rootFreeGib": 1000.0,
    "cgroupVersion": 2,
    "clockOffsetSeconds": 0.1,
    "addresses": ["10.0.0.1"],
    "interface": "eth0",
    "swap": [],
    "gpus": [],
    "listening": [22],
    "sudo": True,
    "joined": False,
    "reachable": True,
}


def node(role: Role = Role.WORKER, name: str = "n1", address: str = "10.0.0.1", gpus: int = 0) -> Node:
    return node_settings.Node(name=name, address=address, role=role, gpus=gpus)


def judged(
    facts: dict[str, Any],
    role: Role = Role.WORKER,
    gpus: int = 0,
    downgrade: tuple[str, ...] = (),
    gpu: Gpu | None = None,
    **kubernetes: Any,
) -> Report:
    only = node(role, gpus=gpus)
    return preflight(
        [only],
        {"n1": parse({**HEALTHY, **facts})},
        Kubernetes(**kubernetes),
        Preflight(downgrade=downgrade),
        gpu or Gpu(),
        Inference(),
    )


def test_a_healthy_node_says_nothing() -> None:
    for role in Role:
        assert judged({}, role) == Report()


@pytest.mark.parametrize(
    ("role", "facts", "finding"),
    [
        (Role.WORKER, {"os": {"id": "centos", "versionId": "7"}}, "[os] n1: centos 7; supported are"),
        (Role.WORKER, {"os": {"id": "ubuntu", "versionId": "18.04"}}, "[os] n1: ubuntu 18.04; supported are"),
        (Role.WORKER, {"architecture": "aarch64"}, "[architecture] n1: aarch64; the images are built for x86_64."),
        (Role.WORKER, {"kernel": "4.15.0-213-generic"}, "[kernel] n1: 4.15.0-213-generic; 4.19 or newer."),
        (Role.CONTROL_PLANE, {"cpus": 1}, "[cpus] n1: 1 CPU; kubeadm needs 2 on a control-plane."),
        (Role.CONTROL_PLANE, {"memoryMib": 1699}, "[memory] n1: 1699 MiB; kubeadm needs 1700 on a control-plane."),
        (Role.WORKER, {"rootFreeGib": 3.0}, "[disk] n1: 3.0 of 2000 GiB free on /; 300.0 GiB are needed."),
        (
            Role.WORKER,
            {"rootDiskGib": 20, "rootFreeGib": 8},
            "[disk] n1: 8.0 of 20 GiB free on /; 10.0 GiB are needed.",
        ),
        (Role.WORKER, {"cgroupVersion": 1}, "[cgroup] n1: cgroup v1;"),
        (Role.WORKER, {"sudo": False}, "[sudo] n1: the login user may not run commands as root;"),
        (Role.WORKER, {"addresses": ["10.0.0.9"]}, "[address] n1: 10.0.0.1 is on none of its interfaces (10.0.0.9);"),
        (Role.WORKER, {"listening": [22, 10250]}, "[ports] n1: port 10250 in use;"),
        (Role.CONTROL_PLANE, {"listening": [6443, 2379]}, "[ports] n1: port 2379, 6443 in use;"),
        (Role.WORKER, {"machineId": ""}, "[machine-id] n1: no machine id;"),
    ],
)
def test_what_stops_the_program(role: Role, facts: dict[str, Any], finding: str) -> None:
    report = judged(facts, role)
    assert [line for line in report.findings if line.startswith(finding)], report
    assert len(report.findings) == 1


@pytest.mark.parametrize(
    ("role", "facts", "warning"),
    [
        (Role.CONTROL_PLANE, {"cpus": 4}, "[cpus] n1: 4 CPUs; 8 are planned for a control-plane"),
        (Role.WORKER, {"memoryMib": 16384}, "[memory] n1: 16384 MiB; 32 GiB are planned for a worker"),
        (Role.STORAGE, {"rootDiskGib": 500}, "[disk] n1: / has 500 GiB; 1000 GiB are planned for a storage"),
        (Role.WORKER, {"swap": ["/swap.img"]}, "[swap] n1: swap is on; kubelet refuses it."),
        (Role.WORKER, {"hostname": "ip-10-0-0-1"}, "[hostname] n1: the machine calls itself ip-10-0-0-1;"),
        (Role.WORKER, {"gpus": ["10de:2685"]}, "[gpus] n1: 1 GPUs on the PCI bus; only 0 are declared"),
        (Role.WORKER, {"joined": True, "rootFreeGib": 3.0}, "[disk] n1: 3.0 of 2000 GiB free on /;"),
    ],
)
def test_what_only_warns(role: Role, facts: dict[str, Any], warning: str) -> None:
    report = judged(facts, role)
    assert report.findings == []
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith(warning)


def test_sixteen_gigabytes_as_sold_are_enough_for_a_control_plane() -> None:
    assert judged({"memoryMib": 15614}, Role.CONTROL_PLANE) == Report()


def test_missing_gpus_stop_unless_downgraded_by_name() -> None:
    assert judged({}, gpus=2).findings[0].startswith("[gpus] n1: 0 GPUs on the PCI bus; the settings declare 2.")
    tolerated = judged({}, gpus=2, downgrade=("gpus",))
    assert not tolerated.findings
    assert len(tolerated.warnings) == 1


def test_a_downgrade_touches_no_other_check() -> None:
    report = judged({"cpus": 1, "memoryMib": 100}, Role.CONTROL_PLANE, downgrade=("cpus",))
    assert [line.split("]")[0] for line in report.findings] == ["[memory"]


def test_kubelet_options_lift_the_rules_they_answer() -> None:
    assert judged({"cgroupVersion": 1}, kubelet={"failCgroupV1": False}) == Report()
    assert judged({"swap": ["/swap.img"]}, kubelet={"failSwapOn": False}) == Report()


def test_nftables_mode_needs_a_newer_kernel() -> None:
    report = judged({"kernel": "5.4.0-190-generic"}, kube_proxy={"mode": "nftables"})
    assert "5.13 or newer" in report.findings[0]
    assert "kubernetes.kubeProxy.mode" in report.findings[0]


def test_the_api_port_of_the_settings_is_the_one_that_must_be_free() -> None:
    assert judged({"listening": [6443]}, Role.CONTROL_PLANE, api_port=7443) == Report()
    assert judged({"listening": [7443]}, Role.CONTROL_PLANE, api_port=7443).findings


def test_ports_of_a_member_are_its_own() -> None:
    assert judged({"listening": [10250], "joined": True}) == Report()


def test_storage_nodes_are_not_asked_for_what_only_kubernetes_needs() -> None:
    facts = {"cgroupVersion": 1, "swap": ["/swap.img"], "listening": [6443, 10250]}
    assert judged(facts, Role.STORAGE) == Report()


def two(first: dict[str, Any], second: dict[str, Any], *more: dict[str, Any]) -> Report:
    nodes = [node(name=f"n{index}", address=f"10.0.0.{index}") for index in range(1, 3 + len(more))]
    facts: dict[str, NodeFacts] = {
        one.name: parse(
            {**HEALTHY, "hostname": one.name, "machineId": one.name, "addresses": [str(one.address)], **over}
        )
        for one, over in zip(nodes, (first, second, *more), strict=True)
    }
    return preflight(nodes, facts, Kubernetes(), Preflight(), Gpu(), Inference())


def test_cloned_machines_are_named_with_each_other() -> None:
    report = two({"machineId": "same"}, {"machineId": "same"})
    assert [line.split(";")[0] for line in report.findings] == [
        "[machine-id] n1: same machine id as n2",
        "[machine-id] n2: same machine id as n1",
    ]


@pytest.mark.parametrize(("skew", "stops"), [(0.5, None), (10.0, False), (-300.0, True)])
def test_clocks_are_compared_with_the_other_nodes_not_with_the_operator(skew: float, stops: bool | None) -> None:
    report = two({"clockOffsetSeconds": 7200.0}, {"clockOffsetSeconds": 7200.0}, {"clockOffsetSeconds": 7200.0 + skew})
    said = report.findings if stops else report.warnings
    assert [line.split(":")[0] for line in said] == ([] if stops is None else ["[clock] n3"])
    assert report.findings == (said if stops else [])


def test_unreachable_and_unread_nodes_are_left_to_whoever_must_reach_them() -> None:
    facts = {"n1": parse({"reachable": False})}
    assert (
        preflight([node(), node(name="n2", address="10.0.0.2")], facts, Kubernetes(), Preflight(), Gpu(), Inference())
        == Report()
    )


def test_facts_that_could_not_be_read_are_no_finding() -> None:
    assert (
        preflight([node()], {"n1": parse({"reachable": True})}, Kubernetes(), Preflight(), Gpu(), Inference())
        == Report()
    )


def test_every_finding_of_every_node_comes_at_once() -> None:
    report = two({"sudo": False, "architecture": "riscv64"}, {"cgroupVersion": 1})
    assert [line.split(";")[0].split(":")[0] for line in report.findings] == [
        "[architecture] n1",
        "[sudo] n1",
        "[cgroup] n2",
    ]


def test_equal_nodes_share_a_sentence() -> None:
    few = two({"cpus": 4}, {"cpus": 4}, {"cpus": 8})
    assert few.warnings == [
        "[cpus] n1, n2: 4 CPUs; 16 are planned for a worker",
        "[cpus] n3: 8 CPUs; 16 are planned for a worker",
    ]
    many = two(*[{"cgroupVersion": 1}] * 9)
    assert [line.split(":")[0] for line in many.findings] == ["[cgroup] n1, n2 and 7 others"]


@pytest.mark.parametrize(
    ("gpus", "cpus", "memory_mib", "needs"),
    [
        (1, 16, 32 * 1024, None),
        (2, 16, 48 * 1024, None),
        (2, 16, 32 * 1024, "need 9 CPUs and 36352 MiB"),
        (2, 8, 64 * 1024, "need 9 CPUs and 36352 MiB"),
        (8, 16, 64 * 1024, None),  # two replicas are all there are
        (0, 1, 1024, None),
    ],
)
def test_a_worker_has_room_for_the_replicas_on_its_gpus(
    gpus: int, cpus: int, memory_mib: int, needs: str | None
) -> None:
    found = judged({"cpus": cpus, "memoryMib": memory_mib}, gpus=gpus)
    pods = [line for line in found.findings if line.startswith("[pods]")]
    assert len(pods) == (needs is not None)
    assert needs is None or f"2 replicas of 4000m + 250m CPUs and 16Gi + 1Gi, and the system, {needs}" in pods[0]


def driver(**fields: Any) -> Gpu:
    return Gpu.model_validate({"driver": fields})


TESLA_V100, RTX_4090, B200 = "10de:1db6", "10de:2684", "10de:2901"


def test_secure_boot_stops_a_driver_that_is_built_on_the_node_and_nothing_else() -> None:
    facts = {"secureBoot": "on", "gpus": [RTX_4090]}
    (finding,) = judged(facts, gpus=1).findings
    assert finding.startswith(
        "[secure-boot] n1: Secure Boot is on, and no key for modules built on the node is enrolled;"
    )
    assert judged(facts, gpus=1, gpu=driver(owner="installed")) == Report()
    assert judged({**facts, "secureBoot": "enrolled"}, gpus=1) == Report()
    assert judged({"secureBoot": "on"}) == Report()


@pytest.mark.parametrize(
    ("gpus", "fields", "said"),
    [
        ([TESLA_V100], {}, None),
        ([RTX_4090], {"module": "open"}, None),
        ([RTX_4090], {"module": "proprietary"}, None),
        ([B200], {}, None),
        ([TESLA_V100], {"module": "open"}, "a GPU older than Turing; the open kernel module does not know it."),
        ([B200], {"module": "proprietary"}, "a Blackwell GPU; it needs the open kernel module."),
        ([TESLA_V100, B200], {}, "GPUs older than Turing beside Blackwell; no kernel module serves both."),
        ([TESLA_V100], {"version": "590.44.01"}, "a GPU older than Turing; 580 is its last driver branch, not 590."),
        ([B200], {"version": "550.90.07"}, "a Blackwell GPU; 570 is its first driver branch, not 550."),
    ],
)
def test_a_driver_must_know_the_gpus(gpus: list[str], fields: dict[str, str], said: str | None) -> None:
    report = judged({"gpus": gpus}, gpus=len(gpus), gpu=driver(**fields))
    assert [line.removeprefix("[gpu-generation] n1: ").split(". ")[0] + "." for line in report.findings] == (
        [said] if said else []
    )
