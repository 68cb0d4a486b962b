"""Layer 1, hosts: who the machines are, whether they can become what the config says, what every one of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.apt import RemoteKey
from components.backups import BackupAccess
from components.hosts.backup_keepers import BackupKeys, BackupKeysArgs
from components.hosts.base_system import BaseSystem, BaseSystemArgs
from components.hosts.firewall import ruleset
from components.hosts.machines import Machines, MachinesArgs
from components.hosts.nfs_export import NfsExport, NfsExportArgs
from components.hosts.nvidia_driver import NvidiaDriver, NvidiaDriverArgs
from components.hosts.nvidia_packages import remote_keys
from components.settings import Settings, Ssh
from host.resources import Connection, HostProvider


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosts:
    """What the next layers build on, by node name; `gpus` are the drivers, `backup_key` reads backups (secret, PEM)."""

    ssh: pulumi.ProviderResource
    connections: Mapping[str, Connection]
    interfaces: Mapping[str, pulumi.Output[str]]
    ready: Mapping[str, pulumi.Resource]
    gpus: Mapping[str, pulumi.Resource]
    backup: BackupAccess | None
    backup_key: pulumi.Output[str] | None


def hosts(settings: Settings, private_key: pulumi.Output[str] | None, keys: tuple[RemoteKey, ...]) -> Hosts:
    """`keys` sign the package sources of later layers; nodes fetch them before they read those sources."""
    ssh = ssh_provider(settings.ssh, private_key)
    here = pulumi.ResourceOptions(providers=[ssh])
    machines = Machines(
        "machines",
        MachinesArgs(
            nodes=settings.nodes,
            ssh=settings.ssh,
            kubernetes=settings.kubernetes,
            preflight=settings.preflight,
            inference=settings.inference,
            gpu=settings.gpu,
        ),
        here,
    )
    keepers = settings.backup_keepers
    saved = None
    if settings.kubernetes.backup.enabled:
        saved = BackupKeys(
            "backup", BackupKeysArgs(keepers=keepers, backup=settings.kubernetes.backup, facts=machines.facts), here
        )
    base = BaseSystem(
        "base",
        BaseSystemArgs(
            nodes=settings.nodes,
            connections=machines.connections,
            kubernetes=settings.kubernetes,
            mirrors=settings.mirrors,
            gate=machines.gate,
            ssh=settings.ssh,
            rules={n.name: ruleset(settings, n) for n in settings.nodes} if settings.firewall.enabled else {},
            upgrades=settings.upgrades,
            model_cache=settings.model_store.cache_path,
            keys=keys,
            gpu_keys=remote_keys(settings.mirrors, settings.gpu.driver.owner),
            keepers=frozenset(node.name for node in keepers),
            backup_login=saved.login.public_key if saved else "",
        ),
        here,
    )
    if settings.exporting:
        NfsExport(
            "model-store",
            NfsExportArgs(
                nodes=settings.exporting,
                connections=machines.connections,
                store=settings.model_store,
                readers=settings.model_readers,
                writer=settings.model_writer,
                after=base.ready,
            ),
            here,
        )
    drivers = NvidiaDriver(
        "nvidia-driver",
        NvidiaDriverArgs(
            nodes=() if settings.gpu.driver.owner == "operator" else settings.gpu_workers,
            connections=machines.connections,
            control_planes=tuple(machines.connections[node.name] for node in settings.control_planes),
            facts=machines.facts,
            gpu=settings.gpu,
            mirrors=settings.mirrors,
            after=base.ready,
        ),
        here,
    )
    return Hosts(
        ssh=ssh,
        connections=machines.connections,
        interfaces=machines.interfaces,
        ready=base.ready,
        gpus=drivers.ready,
        backup=saved.access if saved else None,
        backup_key=saved.private_key if saved else None,
    )


def ssh_provider(ssh: Ssh, private_key: pulumi.Output[str] | None) -> HostProvider:
    """The `host` provider as the config describes the way to the nodes."""
    return HostProvider(
        "ssh",
        private_key=private_key,
        private_key_file=ssh.private_key_file,
        known_hosts=ssh.known_hosts,
        jump=ssh.jump.model_dump(by_alias=True, mode="json") if ssh.jump else None,
        contact=ssh.contact,
        connect_timeout_seconds=ssh.connect_timeout_seconds,
        reboot_timeout_seconds=ssh.reboot_timeout_seconds,
    )
