"""What saves etcd on a control plane: program, timer, and who keeps copies. Files as text, pure but for the keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.backups import KEEPER, BackupAccess
from components.cluster import membership
from components.settings import Node
from components.settings.backup import Backup
from host.resources import ROOT, Connection, File, Script, Unit

PROGRAM = "/usr/local/sbin/etcd-backup"
CONFIG = "/etc/qwen3-vl/backup"
UNITS = "/etc/systemd/system"
TIMER, SERVICE = "etcd-backup.timer", "etcd-backup.service"
SPREAD_MINUTES = 15  # within which the control planes start, each at a moment of its own
RETRY_MINUTES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class SavingArgs:
    """`keepers` are the machines that keep copies; a node's own place among them is left out."""

    backup: Backup
    keepers: tuple[Node, ...]
    access: BackupAccess


def files(args: SavingArgs, node: Node, connections: Mapping[str, Connection]) -> dict[str, File]:
    """Files of one control plane, by path."""
    others = [connections[each.name] for each in keepers_of(args, node)]
    return {
        PROGRAM: File(content=(ROOT / membership.SCRIPTS / "etcd_backup.sh").read_text(), mode="0755"),
        f"{UNITS}/{SERVICE}": File(content=SERVICE_TEXT),
        f"{UNITS}/{TIMER}": File(content=timer(args.backup.every_hours)),
        f"{CONFIG}/settings": File(content=settings(args.backup, node), mode="0600"),
        f"{CONFIG}/keepers": File(content=keepers(others), mode="0600"),
        f"{CONFIG}/known_hosts": File(content=known_hosts(args, node), mode="0600"),
        f"{CONFIG}/recipient.pem": File(content=args.access.recipient, mode="0600"),
        f"{CONFIG}/login.pem": File(content=args.access.login_key, mode="0600", secret=True),
    }


def units() -> dict[str, Unit]:
    return {TIMER: Unit(restart_on=(f"{UNITS}/{TIMER}",))}


def watch(backup: Backup) -> Script:
    """A preview tells of a control plane that is not saved; `up` saves it."""
    return Script(
        path=f"{membership.SCRIPTS}/watch_backup.sh",
        environment={"EVERY_HOURS": str(backup.every_hours)},
        deadline_seconds=900,
    )


def keepers_of(args: SavingArgs, node: Node) -> list[Node]:
    return sorted((each for each in args.keepers if each.name != node.name), key=lambda each: each.name)


def keepers(connections: list[Connection]) -> str:
    """One line each: name, user@address, port."""
    return "".join(f"{each.node} {KEEPER}@{each.address} {each.port}\n" for each in connections)


def known_hosts(args: SavingArgs, node: Node) -> pulumi.Output[str]:
    """By node name, which `HostKeyAlias` asks for, so that neither port nor address matter."""
    known = {each.name: args.access.host_keys[each.name] for each in keepers_of(args, node)}
    return pulumi.Output.all(**known).apply(
        lambda found: "".join(f"{name} {key}\n" for name, keys in sorted(found.items()) for key in keys)
    )


def settings(backup: Backup, node: Node) -> str:
    """What the program sources."""
    return (
        f"NODE_NAME={node.name}\nNODE_ADDRESS={node.address}\n"
        f"EVERY_HOURS={backup.every_hours}\nKEEP={backup.keep}\nKEEP_DAYS={backup.keep_days}\n"
    )


def timer(every_hours: int) -> str:
    """systemd.timer(5). One that was missed while the node was off is made up for after its start."""
    hours = ",".join(f"{hour:02}" for hour in range(0, 24, every_hours))
    return f"""\
[Unit]
Description=Backups of etcd

[Timer]
OnCalendar=*-*-* {hours}:00:00 UTC
RandomizedDelaySec={SPREAD_MINUTES}min
Persistent=true

[Install]
WantedBy=timers.target
"""


# Tried again until every keeper has the newest one; a snapshot is made again only when it is due.
SERVICE_TEXT = f"""\
[Unit]
Description=Backup of etcd, here and on other machines
After=network-online.target containerd.service
Wants=network-online.target

[Service]
Type=oneshot
ExecStart={PROGRAM} run
SyslogIdentifier=etcd-backup
Restart=on-failure
RestartSec={RETRY_MINUTES}min
TimeoutStartSec=2h
Nice=10
IOSchedulingClass=idle
"""
