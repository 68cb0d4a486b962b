"""Machines that keep what control planes save of etcd: a login that can hand an encrypted file in and do nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

import pulumi

from components.backups import FOLDER, KEEPER, BackupAccess
from components.hosts import facts
from components.naming import token
from components.settings import Node, certificate
from components.settings.backup import Backup
from host.resources import ROOT, File, KeyPair, Script

SCRIPTS = "components/hosts/scripts"
RECEIVER = "/usr/local/lib/qwen3-vl/receive-backup"
AUTHORIZED_KEYS = f"{FOLDER}/.ssh/authorized_keys"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupKeysArgs:
    """`facts` are those of the nodes, by name."""

    keepers: tuple[Node, ...]
    backup: Backup
    facts: Mapping[str, pulumi.Output[dict[str, object]]]


class BackupKeys(pulumi.ComponentResource):
    """Two keys: the control planes' to hand backups in, and the one that reads them, which no node ever has."""

    login: KeyPair
    access: BackupAccess
    private_key: pulumi.Output[str] | None  # secret, PEM; None where the operator has it already

    def __init__(self, name: str, args: BackupKeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("hosts", "BackupKeys"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        self.login = KeyPair(f"{name}-login", here)
        file = args.backup.recipient_file
        if file is None:
            reader = KeyPair(f"{name}-reader", here)
            recipient, self.private_key = reader.certificate, pulumi.Output.secret(reader.private_key)
        else:
            recipient, self.private_key = pulumi.Output.from_input(certificate.read(file).decode()), None
        self.access = BackupAccess(
            recipient=recipient,
            login_key=pulumi.Output.secret(self.login.private_key),
            host_keys={node.name: args.facts[node.name].apply(host_keys_of) for node in args.keepers},
        )
        self.register_outputs({})


def host_keys_of(found: Mapping[str, object]) -> list[str]:
    return facts.parse(dict(found)).host_keys


def keeper_files(backup: Backup, login: pulumi.Input[str], control_planes: tuple[IPv4Address, ...]) -> dict[str, File]:
    """Files of a keeper by path. `login` is the public key that may come from the addresses of `control_planes`."""
    receiver = (ROOT / SCRIPTS / "receive_backup.sh").read_text()
    line = pulumi.Output.from_input(login).apply(lambda key: authorized_keys(backup, key, control_planes))
    return {RECEIVER: File(content=receiver, mode="0755"), AUTHORIZED_KEYS: File(content=line)}


def authorized_keys(backup: Backup, login: str, control_planes: tuple[IPv4Address, ...]) -> str:
    """sshd(8), AUTHORIZED_KEYS FILE FORMAT: no terminal, no forwarding, one command whatever the other side asks for."""
    places = ",".join(map(str, sorted(control_planes)))
    return f'restrict,from="{places}",command="{RECEIVER} {backup.keep} {backup.keep_days}" {login} etcd-backup\n'


def keeper_script() -> Script:
    """The user and the folder."""
    return Script(path=f"{SCRIPTS}/backup_keeper.sh", environment={"KEEPER": KEEPER, "HOME_FOLDER": FOLDER})
