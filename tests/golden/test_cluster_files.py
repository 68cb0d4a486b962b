"""Every file the cluster and hosts layers put on a node, for settings like production's and like a lab's."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from components.cluster import api_endpoint, backup, container_runtime, kubeadm_config
from components.cluster.kubernetes_packages import kubernetes_repository
from components.hosts import nvidia_driver
from components.hosts.backup_keepers import authorized_keys
from components.hosts.base_system import chrony_conf, os_sources
from components.hosts.connections import connections
from components.hosts.firewall import BOOT, UNDO, ruleset
from components.hosts.nfs_export import ganesha_files, kernel_files
from components.hosts.nvidia_packages import preferences
from components.hosts.ssh_hardening import UNDO as UNDO_SSH
from components.hosts.ssh_hardening import sshd_settings
from components.hosts.upgrades import upgrades_conf
from components.settings import Settings, Upgrades
from components.versions import PAUSE_IMAGE
from tests.support.cluster import LAB_LIKE, settings
from tests.support.golden import compare
from tests.support.settings import VALID

MIXED_NODES = [
    {**VALID["nodes"][0], "taints": [{"key": "dedicated", "value": "control", "effect": "NoSchedule"}]},
    *VALID["nodes"][1:3],
    {
        **VALID["nodes"][3],
        "labels": {"zone": "a", "gpu": "4090d"},
        "taints": [{"key": "gpu", "effect": "PreferNoSchedule"}],
    },
    *VALID["nodes"][4:],
]
WORLDS: Mapping[str, dict[str, Any]] = {"prod": {"nodes": MIXED_NODES}, "lab": LAB_LIKE}


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest) -> tuple[str, Settings]:
    return request.param, settings(WORLDS[request.param])


def test_kubeadm_init(world: tuple[str, Settings]) -> None:
    name, found = world
    text = kubeadm_config.init_yaml(found.kubernetes, found.control_planes[0], found.api_host)
    compare(f"cluster/{name}/init.yaml", text)


def test_kubeadm_join_control_plane(world: tuple[str, Settings]) -> None:
    name, found = world
    text = kubeadm_config.join_yaml(found.kubernetes, found.control_planes[1], found.api_host)
    compare(f"cluster/{name}/join-control-plane.yaml", text)


def test_kubeadm_join_worker(world: tuple[str, Settings]) -> None:
    name, found = world
    compare(
        f"cluster/{name}/join-worker.yaml", kubeadm_config.join_yaml(found.kubernetes, found.workers[0], found.api_host)
    )


def test_keepalived(world: tuple[str, Settings]) -> None:
    name, found = world
    address, own = found.kubernetes.api_address, found.control_planes[1]
    assert address is not None
    text = api_endpoint.keepalived_conf(found.kubernetes, address, "eth0", own, found.control_planes)
    compare(f"cluster/{name}/keepalived.conf", text)


def test_containerd(world: tuple[str, Settings]) -> None:
    name, found = world
    compare(f"cluster/{name}/containerd-config.toml", container_runtime.config_toml(found.kubernetes, PAUSE_IMAGE))


def test_containerd_with_gpus(world: tuple[str, Settings]) -> None:
    name, found = world
    compare(f"cluster/{name}/containerd-nvidia.toml", container_runtime.nvidia_toml(found.kubernetes, PAUSE_IMAGE))


def test_package_source(world: tuple[str, Settings]) -> None:
    name, found = world
    compare(f"cluster/{name}/kubernetes.list", kubernetes_repository(found.kubernetes, found.mirrors).lines)


def test_registry_mirror() -> None:
    files = container_runtime.registry_files("http://192.168.1.5:5000")
    (path,) = files
    assert path == "/etc/containerd/certs.d/_default/hosts.toml"
    compare("cluster/lab/hosts.toml", files[path])


def test_without_a_mirror_registries_are_asked_themselves() -> None:
    assert container_runtime.registry_files(None) == {}


def test_os_sources() -> None:
    mirror = settings(LAB_LIKE).mirrors.os
    assert mirror is not None
    compare("hosts/sources.list", str(os_sources(mirror)["/etc/apt/sources.list"].content))


@pytest.mark.parametrize("server", ["kernel", "ganesha"])
def test_export(server: str) -> None:
    """One writer among the readers' network, and readers by themselves."""
    readers = (IPv4Network("192.168.1.21"), IPv4Network("192.168.2.0/24"))
    files = {"kernel": kernel_files, "ganesha": ganesha_files}[server]
    for name, writer in (("read-only", None), ("writer", IPv4Address("192.168.2.9"))):
        text = "".join(f"# {path}\n{text}\n" for path, text in files("/exports/models", readers, writer).items())
        compare(f"hosts/{server}-{name}.conf", text)
        assert "*" not in text.replace("\\\n", "")
        assert "no_root_squash" not in text.lower()


def test_unattended_upgrades() -> None:
    compare("hosts/upgrades.conf", upgrades_conf(Upgrades()))
    compare("hosts/upgrades-off.conf", upgrades_conf(Upgrades(security=False)))
    own = upgrades_conf(Upgrades(origins=("origin=Example,suite=stable-security",)))
    assert own.replace('  "origin=Example,suite=stable-security";\n', "") == upgrades_conf(Upgrades())


NARROW: Mapping[str, Any] = {
    "firewall": {
        "operatorNetworks": ["10.9.0.0/24", "10.9.1.7/32"],
        "apiNetworks": ["10.9.2.0/24"],
        "extraPorts": [
            {"port": 9100, "networks": ["10.9.3.0/25", "10.9.3.128/25"]},
            {"port": 53, "protocol": "udp", "roles": ["storage"]},
        ],
    },
    "modelStore": {"writer": "192.168.1.200"},
    "loadBalancer": {"addresses": ["192.168.1.210-192.168.1.220"]},
    "ssh": {"knownHosts": "known_hosts", "port": 2222},
}


@pytest.mark.parametrize("kind", ["open", "narrow"])
def test_packet_filter(kind: str) -> None:
    found = settings(NARROW if kind == "narrow" else {})
    for node in (found.control_planes[0], found.workers[0], found.exporting[0]):
        compare(f"hosts/firewall-{kind}-{node.role.value}.nft", ruleset(found, node))
    compare("hosts/firewall-units.conf", f"{BOOT}\n{UNDO}")


def test_sshd_settings() -> None:
    compare("hosts/sshd.conf", sshd_settings("root"))
    changed = set(sshd_settings("ops").splitlines()) - set(sshd_settings("root").splitlines())
    assert changed == {"PermitRootLogin no"}, "a node whose root may not log in stays so"
    compare("hosts/sshd-undo.service", UNDO_SSH)


def test_time_servers() -> None:
    compare("hosts/chrony.conf", chrony_conf(["10.0.0.1", "time.example.com"]))


def test_keepalived_of_two_nodes_differs_only_in_what_is_their_own() -> None:
    found = settings()
    first, second = (
        api_endpoint.keepalived_conf(found.kubernetes, IPv4Address("192.168.1.10"), "eth0", node, found.control_planes)
        for node in found.control_planes[:2]
    )
    changed = {
        line.split()[0]
        for one, other in zip(first.splitlines(), second.splitlines(), strict=True)
        for line in [one]
        if one != other
    }
    assert changed == {"router_id", "priority", "unicast_src_ip", "192.168.1.12"}


def test_driver_files() -> None:
    compare("hosts/gpu-upgrades.conf", nvidia_driver.UNATTENDED_UPGRADES)
    compare("hosts/nouveau.conf", nvidia_driver.NOUVEAU)
    compare("hosts/nvidia.pref", preferences("580.95.05-1"))


def test_backups() -> None:
    """Timer, service and what the program reads, on one control plane; the login on the others."""
    found = settings()
    plan, node = found.kubernetes.backup, found.control_planes[1]
    others = [way for name, way in connections(found.backup_keepers, found.ssh).items() if name != node.name]
    texts = {
        backup.TIMER: backup.timer(plan.every_hours),
        backup.SERVICE: backup.SERVICE_TEXT,
        "settings": backup.settings(plan, node),
        "keepers": backup.keepers(others),
        "authorized_keys": authorized_keys(plan, "KEY", tuple(each.address for each in found.control_planes)),
    }
    compare("cluster/backup.conf", "".join(f"# {name}\n{text}\n" for name, text in texts.items()))
