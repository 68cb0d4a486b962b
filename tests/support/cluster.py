"""The hosts and cluster layers wired as the program wires them, and the settings they are tried with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pulumi.runtime.mocks import MockResourceArgs

from components.cluster.kubernetes_packages import kubernetes_repository
from components.cluster.layer import cluster
from components.hosts.layer import hosts
from components.settings import Settings
from components.settings.parse import parse
from tests.support.settings import VALID

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nbm90IGEga2V5\n-----END PGP PUBLIC KEY BLOCK-----\n"
LAB_LIKE: dict[str, Any] = {
    "kubernetes": {
        "version": "1.34.2",
        "apiAddress": "192.168.1.10",
        "cgroupDriver": "cgroupfs",
        "kubelet": {"failCgroupV1": False, "failSwapOn": False},
        "kubeProxy": {"mode": "nftables", "conntrack": {"maxPerCore": 0}},
        "ignorePreflight": ["Swap", "NumCPU"],
        "containerd": {"restrictOomScoreAdj": True},
    },
    "mirrors": {
        "os": {"url": "http://192.168.1.5/debian", "suite": "bookworm", "components": ["main"], "key": KEY},
        "kubernetes": {"url": "http://192.168.1.5/kubernetes", "suite": "./", "key": KEY},
        "nvidia": {"url": "http://192.168.1.5/nvidia", "suite": "./", "key": KEY},
        "images": "http://192.168.1.5:5000",
    },
}
GOOD_FACTS = {
    "hostname": "",
    "os": {"id": "ubuntu", "versionId": "24.04"},
    "kernel": "6.8.0-41-generic",
    "architecture": "x86_64",
    "cpus": 32,
    "memoryMib": 65536,
    "rootDiskGib": 2000.0,
    "rootFreeGib": 1500.0,
    "cgroupVersion": 2,
    "clockOffsetSeconds": 0.01,
    "interface": "enp1s0",
    "swap": [],
    "listening": [22],
    "hostKeys": ["ssh-ed25519 AAAA"],
    "sudo": True,
    "joined": False,
    "reachable": True,
}


def settings(over: Mapping[str, Any] | None = None) -> Settings:
    """The valid config of the tests with `over` in place of its top-level keys."""
    return parse({**copy.deepcopy(VALID), **(over or {})})


def build(found: Settings) -> None:
    """Hosts and cluster, as __main__.py wires them."""
    packages = kubernetes_repository(found.kubernetes, found.mirrors)
    machines = hosts(found, None, (packages.remote_key,) if packages.remote_key else ())
    cluster(
        found,
        repository=packages,
        ssh=machines.ssh,
        connections=machines.connections,
        interfaces=machines.interfaces,
        after=machines.ready,
        backup=machines.backup,
    )


def provider(args: MockResourceArgs) -> dict[str, Any]:
    """What the host provider and the cluster would add."""
    if args.typ == "host:index:Facts":
        node = args.inputs["connection"]
        own = {
            "hostname": node["node"],
            "machineId": node["node"],
            "addresses": [node["address"]],
            "gpus": ["10de:2685"],
        }
        return {"facts": {**GOOD_FACTS, **own}}
    if args.typ == "host:index:Configuration":
        return {"applied": "digest"}
    if args.typ == "host:index:KeyPair":
        return {"certificate": "certificate", "publicKey": "ecdsa-sha2-nistp256 AAAA", "privateKey": "private"}
    if args.typ == "host:index:Kubeconfig":
        return {"kubeconfig": "apiVersion: v1", "clusterId": "ca-digest"}
    return {}
