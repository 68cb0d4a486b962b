"""The program's side of the `host` provider: typed resources of one node, reached over SSH.

`Facts` reads a node. `Configuration` keeps one concern of one node (files, packages, units, sysctls, scripts) in the wanted
state. `Gate` stops the program with all findings at once. `Kubeconfig` reads the operator's credentials from the cluster,
`Allocatable` waits until a node can give pods what they will ask for, `DaemonsReady` until a DaemonSet's pods run,
`CertificateIssued` until an ACME server's certificate has come.
`ServingCertificate`, `PrivateCertificate` and `KeyPair` are made here and contact nobody.
The engine keeps digests in its state, never the texts; secrets travel by standard input only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pulumi

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """How to reach one node. Keys and known_hosts belong to the provider, not to each resource."""

    node: str
    address: str
    port: int = 22
    user: str = "root"
    host_keys: tuple[str, ...] = ()

    def to_inputs(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {"node": self.node, "address": self.address, "port": self.port, "user": self.user}
        return inputs | ({"hostKeys": list(self.host_keys)} if self.host_keys else {})


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file with exactly this content. The state keeps its digest (secret files: an encrypted one)."""

    content: pulumi.Input[str]
    mode: str = "0644"
    owner: str = "root:root"
    secret: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A systemd unit that is enabled and running; restarted when one of `restart_on` (paths of files) changes.

    False means disabled or stopped; None leaves that side alone (a kubelet that only runs once its node has joined).
    """

    restart_on: tuple[str, ...] = ()
    enabled: bool | None = True
    running: bool | None = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """A checked-in script that runs as root on the node.

    It is called as `script check` (read-only; exit 0 and `unchanged: why`, or exit 1 and `drifted: why`) and
    `script apply` (safe to run twice). `environment` is plain and part of the diff. `material` names a script run on one
    of the configuration's peers right before `apply`; what it prints becomes this script's standard input and is
    kept nowhere. `deadline_seconds` ends it with everything it started.

    `confirm_seconds` is for a change that may cut the node off: once `apply` is through, the node must take a new connection
    within that time, over which `script confirm` makes the change last. Else it is taken back: by `script revert` over the
    connection that is still there, or by a timer on the node that `apply` sets before it changes anything.
    """

    path: str  # relative to the project's root
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    stdin: pulumi.Input[str] | None = None  # secret
    material: str | None = None
    deadline_seconds: int = 300
    on: Literal["node", "peer"] = "node"
    confirm_seconds: int | None = None
    purpose: str = ""  # tells two uses of one script in a configuration apart

    @property
    def name(self) -> str:
        return "-".join([Path(self.path).stem, *([self.purpose] if self.purpose else [])])

    def to_inputs(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {
            "name": self.name,
            "path": self.path,
            "sha256": hashlib.sha256((ROOT / self.path).read_bytes()).hexdigest(),
            "environment": dict(self.environment),
            "stdin": None if self.stdin is None else pulumi.Output.secret(self.stdin),
            "material": self.material,
            "deadlineSeconds": self.deadline_seconds,
            "on": self.on,
            "confirmSeconds": self.confirm_seconds,
        }
        return {key: value for key, value in inputs.items() if value is not None}


class Facts(pulumi.CustomResource):
    """What a node is: read in preview too, so checks on it run before anything is changed.

    `facts` is a mapping: hostname, machineId, os (id, versionId), kernel, architecture, cpus, memoryMib, rootDiskGib,
    rootFreeGib, cgroupVersion, clockOffsetSeconds, addresses, interface (the one with the connection's address), swap,
    gpus (PCI ids), secureBoot (off, on, or enrolled: modules built on the node are trusted), listening (ports), python, sudo,
    hostKeys (public, of its sshd), `joined` (has a kubelet identity, or is getting one), `reachable`.
    Unknown where the node cannot be reached in a preview.
    """

    facts: pulumi.Output[dict[str, Any]]

    def __init__(self, name: str, connection: Connection, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("host:index:Facts", name, {"connection": connection.to_inputs(), "facts": None}, opts)


class Gate(pulumi.CustomResource):
    """Fails, in preview too, with every finding at once; `warnings` are shown and pass."""

    def __init__(
        self,
        name: str,
        findings: pulumi.Input[list[str]],
        warnings: pulumi.Input[list[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("host:index:Gate", name, {"findings": findings, "warnings": warnings}, opts)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigurationArgs:
    """One concern of one node, applied in the order of the fields; `removal` runs when the resource is deleted.

    `sysctls` are set at once and kept over a reboot by /etc/sysctl.d/60-<concern>.conf. `packages` maps a name to its
    exact version, installed and held ("" = any version, not held, so that security updates reach it). `peers` may run
    `material` and `removal` steps with `on="peer"`; a changed list of peers is never a planned change. A removal step on
    an unreachable node is skipped with a warning. A file that leaves `files` is deleted if it still is as we wrote it.
    """

    connection: Connection
    files: Mapping[str, File] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    packages: pulumi.Input[Mapping[str, str]] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    scripts: tuple[Script, ...] = ()
    removal: tuple[Script, ...] = ()
    peers: tuple[Connection, ...] = ()


class Configuration(pulumi.CustomResource):
    """Keeps one concern of one node in the wanted state; preview names what drifted. Adopts a node that already is so."""

    applied: pulumi.Output[str]  # digest over all inputs that were applied; a value for others to depend on

    def __init__(self, name: str, args: ConfigurationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {
            "connection": args.connection.to_inputs(),
            "files": {
                path: {
                    "content": pulumi.Output.secret(f.content) if f.secret else f.content,
                    "mode": f.mode,
                    "owner": f.owner,
                }
                for path, f in args.files.items()
            },
            "sysctls": dict(args.sysctls),
            "packages": args.packages,
            "units": {
                unit: {"restartOn": list(u.restart_on), "enabled": u.enabled, "running": u.running}
                for unit, u in args.units.items()
            },
            "scripts": [script.to_inputs() for script in args.scripts],
            "removal": [script.to_inputs() for script in args.removal],
            "peers": [peer.to_inputs() for peer in args.peers],
            "applied": None,
        }
        super().__init__("host:index:Configuration", name, inputs, opts)


class Kubeconfig(pulumi.CustomResource):
    """Administrator credentials of the cluster, read from the first control plane that answers; always secret."""

    kubeconfig: pulumi.Output[str]
    cluster_id: pulumi.Output[str]  # SHA-256 of the cluster's CA: stable over the cluster's life

    def __init__(
        self, name: str, peers: tuple[Connection, ...], server: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        inputs = {
            "peers": [peer.to_inputs() for peer in peers],
            "server": server,
            "kubeconfig": None,
            "cluster_id": None,
        }
        super().__init__("host:index:Kubeconfig", name, inputs, pulumi.ResourceOptions.merge(opts, secret))

    def translate_output_property(self, prop: str) -> str:
        """Python's name of an output; without it the engine's spelling would find no attribute to fill."""
        return {"clusterId": "cluster_id"}.get(prop, prop)


class ServingCertificate(pulumi.CustomResource):
    """A key and a certificate for the DNS `names` that signs itself; an `up` in the last third of its life renews it."""

    certificate: pulumi.Output[str]  # PEM; also what clients are to trust
    private_key: pulumi.Output[str]  # PEM, secret

    def __init__(self, name: str, names: tuple[str, ...], opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["privateKey"])
        inputs = {"names": list(names), "certificate": None, "private_key": None}
        super().__init__("host:index:ServingCertificate", name, inputs, pulumi.ResourceOptions.merge(opts, secret))

    def translate_output_property(self, prop: str) -> str:
        """Python's name of an output, as in `Kubeconfig`."""
        return {"privateKey": "private_key"}.get(prop, prop)


class PrivateCertificate(pulumi.CustomResource):
    """An authority of one's own and a server certificate of it for DNS `names` and IP `addresses`, each with its key.

    An `up` in the last third of the certificate's life, or with other names, makes a new one. The authority stays; when it would
    end before what it signs, it is given new years with the same key.
    """

    authority: pulumi.Output[str]  # PEM; what clients are to trust
    authority_key: pulumi.Output[str]  # PEM, secret
    certificate: pulumi.Output[str]  # PEM
    private_key: pulumi.Output[str]  # PEM, secret

    def __init__(
        self,
        name: str,
        names: tuple[str, ...],
        addresses: tuple[str, ...] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["authorityKey", "privateKey"])
        inputs = {
            "names": list(names),
            "addresses": list(addresses),
            "authority": None,
            "authority_key": None,
            "certificate": None,
            "private_key": None,
        }
        super().__init__("host:index:PrivateCertificate", name, inputs, pulumi.ResourceOptions.merge(opts, secret))

    def translate_output_property(self, prop: str) -> str:
        """Python's name of an output, as in `Kubeconfig`."""
        return {"authorityKey": "authority_key", "privateKey": "private_key"}.get(prop, prop)


class KeyPair(pulumi.CustomResource):
    """A key on P-256 that stays as long as the resource: to log in with, or to read what was encrypted for it."""

    certificate: pulumi.Output[str]  # PEM, without an end; what CMS encrypts for
    public_key: pulumi.Output[str]  # as in authorized_keys
    private_key: pulumi.Output[str]  # PEM, secret

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["privateKey"])
        inputs = {"certificate": None, "public_key": None, "private_key": None}
        super().__init__("host:index:KeyPair", name, inputs, pulumi.ResourceOptions.merge(opts, secret))

    def translate_output_property(self, prop: str) -> str:
        """Python's name of an output, as in `Kubeconfig`."""
        return {"publicKey": "public_key", "privateKey": "private_key"}.get(prop, prop)


class Allocatable(pulumi.CustomResource):
    """A node has `amount` of `resource` to give to pods, as the first control plane that answers (`peers`) sees it.

    Waits for it once, `deadline_seconds` at most, and fails with `remedy` if the node is Ready without it. A node that is not
    Ready is waited for a minute and passed over with a warning, as is one that loses it later: neither holds up other nodes.
    """

    def __init__(
        self,
        name: str,
        *,
        node: str,
        resource: str,
        amount: int,
        peers: tuple[Connection, ...],
        deadline_seconds: int,
        remedy: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "node": node,
            "resource": resource,
            "amount": amount,
            "peers": [peer.to_inputs() for peer in peers],
            "deadlineSeconds": deadline_seconds,
            "remedy": remedy,
            "reached": None,
        }
        super().__init__("host:index:Allocatable", name, inputs, opts)


class DaemonsReady(pulumi.CustomResource):
    """Every Ready node that DaemonSet `name` is for runs its newest pod, and that is ready.

    The engine's own wait counts dead nodes too and so never ends with one; give the DaemonSet `pulumi.com/skipAwait` and let
    what needs its pods depend on this. Waits whenever `generation` (the DaemonSet's `metadata.generation`) changes, at most
    `deadline_seconds`, and fails with the names of the nodes and `remedy`. Nodes that are not Ready are waited for a minute,
    passed over with a warning, and looked at again by the next run.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        daemon_set: str,
        generation: pulumi.Input[int | None],
        peers: tuple[Connection, ...],
        deadline_seconds: int,
        remedy: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "namespace": namespace,
            "daemonSet": daemon_set,
            "generation": generation,
            "peers": [peer.to_inputs() for peer in peers],
            "deadlineSeconds": deadline_seconds,
            "remedy": remedy,
            "passedOver": None,
        }
        super().__init__("host:index:DaemonsReady", name, inputs, opts)


class Rounds(pulumi.CustomResource):
    """A script that has to go over several nodes in step: `apply` runs with `ROUND` set to each of `rounds` in turn, on one node
    after another, and no round begins before the one before has ended on all.

    Nothing runs if every node's `check` says unchanged, and nothing is begun unless every node answers. A run that was ended is
    finished by the next, which begins with the first round. What the first node prints in a round is secret, kept nowhere,
    and the standard input of the others in that round.
    """

    def __init__(
        self,
        name: str,
        *,
        nodes: tuple[Connection, ...],
        script: Script,
        rounds: tuple[str, ...],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "nodes": [node.to_inputs() for node in nodes],
            "script": script.to_inputs(),
            "rounds": list(rounds),
            "settled": None,
        }
        super().__init__("host:index:Rounds", name, inputs, opts)


class CertificateIssued(pulumi.CustomResource):
    """The Secret `secret_name` holds a certificate that an ACME server issued for `request`, as its issuer noted.

    Waits at most `deadline_seconds`, and fails with what the issuer says and `remedy`. Waits again when `request` changes; that a
    certificate is renewed in time is the issuer's business and the alerts'.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        secret_name: str,
        request: str,
        peers: tuple[Connection, ...],
        deadline_seconds: int,
        remedy: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "namespace": namespace,
            "secretName": secret_name,
            "request": request,
            "peers": [peer.to_inputs() for peer in peers],
            "deadlineSeconds": deadline_seconds,
            "remedy": remedy,
            "issuedFor": None,
        }
        super().__init__("host:index:CertificateIssued", name, inputs, opts)


class HostProvider(pulumi.ProviderResource):
    """The provider itself: the only holder of the SSH key. One process and one connection per node and run."""

    def __init__(
        self,
        name: str,
        *,
        private_key: pulumi.Input[str] | None = None,
        private_key_file: str | None = None,
        known_hosts: str | None = None,
        jump: Mapping[str, Any] | None = None,
        contact: str = "always",
        connect_timeout_seconds: float = 5,
        reboot_timeout_seconds: float = 600,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "privateKey": None if private_key is None else pulumi.Output.secret(private_key),
            "privateKeyFile": private_key_file,
            "knownHosts": known_hosts,
            "jump": None if jump is None else pulumi.Output.json_dumps(dict(jump)),
            "contact": contact,
            "connectTimeoutSeconds": str(connect_timeout_seconds),
            "rebootTimeoutSeconds": str(reboot_timeout_seconds),
        }
        super().__init__("host", name, inputs, opts)
