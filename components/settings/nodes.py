"""The node list and how to reach the nodes."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import FilePath, Host, HostKey, LabelKey, LabelValue, LoginKey, NodeName, UserName


class Role(StrEnum):
    """What a node is for."""

    CONTROL_PLANE = "control-plane"
    WORKER = "worker"
    STORAGE = "storage"


class Taint(Model):
    """A Kubernetes taint given to the node when it joins."""

    key: LabelKey = Field(description="`name` or `prefix.example.com/name`.")
    value: LabelValue = Field(default="", description="What a toleration compares with.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="NoSchedule", description="What happens to pods that do not tolerate it."
    )


class Node(Model):
    """One machine. Everything made for it is keyed by `name`, so the order of the list means nothing."""

    name: NodeName = Field(
        description="Host name and Kubernetes node name; also the key of every resource of this node."
    )
    address: IPv4Address = Field(description="Address the other nodes and the operator reach it at.")
    role: Role = Field(description="What the node is for; a storage node is not a member of the cluster.")
    gpus: int = Field(
        default=0, ge=0, le=16, description="GPUs the node has; sizes the deployment before the node is seen."
    )
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="Extra Kubernetes labels.")
    taints: tuple[Taint, ...] = Field(default=(), description="Kubernetes taints set when the node joins.")
    user: UserName | None = Field(default=None, description="Login user of this node; `ssh.user` if absent.")
    port: int | None = Field(default=None, ge=1, le=65535, description="SSH port of this node; `ssh.port` if absent.")
    host_keys: tuple[HostKey, ...] = Field(
        default=(), description="Public host keys (`ssh-ed25519 AAAA...`); `ssh.knownHosts` if absent."
    )


class Jump(Model):
    """A bastion every connection goes through (OpenSSH's ProxyJump)."""

    address: Host = Field(description="Address or DNS name of the bastion.")
    user: UserName | None = Field(default=None, description="Login user of the bastion; `ssh.user` if absent.")
    port: int = Field(default=22, ge=1, le=65535, description="SSH port of the bastion.")
    host_keys: tuple[HostKey, ...] = Field(
        default=(), description="Public host keys of the bastion; `ssh.knownHosts` if absent."
    )


class Ssh(Model):
    """How the operator's machine reaches the nodes. Host keys are always verified; there is no switch to turn that off."""

    user: UserName = Field(default="root", description="Login user; needs password-less sudo unless it is root.")
    port: int = Field(default=22, ge=1, le=65535, description="SSH port of the nodes.")
    known_hosts: FilePath | None = Field(
        default=None, description="Path of a known_hosts file, absolute, ~ or relative to the project."
    )
    private_key_file: FilePath | None = Field(
        default=None,
        description="Path of a private key. The secret `sshPrivateKey` wins; with neither, the SSH agent is asked.",
    )
    authorized_keys: tuple[LoginKey, ...] = Field(
        default=(),
        description="Public keys that `up` lets in as the login user of every node, beside those that are there."
        " To change the key: docs/rotation.md.",
    )
    revoked_keys: tuple[LoginKey, ...] = Field(
        default=(),
        description="Public keys that `up` takes out again. The one it has just logged in with is refused.",
    )
    jump: Jump | None = Field(default=None, description="Bastion host.")
    harden: bool = Field(
        default=False,
        description="sshd takes keys only, four attempts at most and no outdated algorithm; undone if nobody gets in then.",
    )
    contact: Literal["always", "never"] = Field(
        default="always", description="`never` previews without contacting any node (CI without a route to them)."
    )
    connect_timeout_seconds: float = Field(
        default=5.0, gt=0, le=120, description="Limit for one dial; the log-in after it gets four times that."
    )
    reboot_timeout_seconds: float = Field(
        default=600.0, ge=0, description="How long an apply waits for a node that reboots."
    )
