"""Where backups of etcd lie on a node and who hands them in: what the machines that save and those that keep agree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

FOLDER = "/var/lib/qwen3-vl-backups"  # home of the one who hands them in; `own` and `received` are in it
KEEPER = "qwen3-vl-backup"  # that user, on every machine that keeps copies


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupAccess:
    """What a control plane needs to save etcd. `host_keys` are the public ones of each keeper's sshd, by node name."""

    recipient: pulumi.Output[str]  # certificate, PEM
    login_key: pulumi.Output[str]  # secret, PEM
    host_keys: Mapping[str, pulumi.Output[list[str]]]
