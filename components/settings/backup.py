"""Backups of the cluster's state."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import FilePath


class Backup(Model):
    """Encrypted snapshots of etcd, made by a timer of each control plane and kept on other machines too."""

    enabled: bool = Field(default=True, description="False makes no more snapshots; those that are there stay.")
    every_hours: Literal[1, 2, 3, 4, 6, 8, 12, 24] = Field(
        default=6, description="How often each control plane saves its etcd, counted from midnight UTC."
    )
    keep: int = Field(
        default=20,
        ge=2,
        le=500,
        description="Snapshots that are kept of each control plane, on itself and on each machine that has its copies.",
    )
    keep_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Older snapshots go, but never the newest one of a control plane on itself.",
    )
    recipient_file: FilePath | None = Field(
        default=None,
        description="Certificate (PEM, a key on P-256 or P-384) of the one who can read them, on the operator's machine; "
        "absolute, ~ or relative to the project. Without one the program makes the key: the secret stack output `backupKey`.",
    )
