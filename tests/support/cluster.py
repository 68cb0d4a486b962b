"""The hosts and cluster layers wired as the program wires them, and the settings they are tried with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

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
    )
