"""The operating system every node starts from: package sources, time, kernel modules, no swap, no surprise upgrades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pulumi

from components.apt import KEYRINGS, RemoteKey, key_text, source_lines
from components.hosts.backup_keepers import keeper_files, keeper_script
from components.hosts.firewall import firewall_files, firewall_script, firewall_units
from components.hosts.preflight import swap_forbidden
from components.hosts.ssh_hardening import hardening_files, hardening_script, hardening_units
from components.hosts.upgrades import upgrades_conf
from components.naming import MODEL_CACHE_USER, token
from components.settings import AptMirror, Kubernetes, Mirrors, Node, Role, Ssh, Upgrades
from host.resources import Configuration, ConfigurationArgs, Connection, File, Script, Unit

SCRIPTS = "components/hosts/scripts"
MODULES = ("overlay", "br_netfilter")
OS_KEYRING = f"{KEYRINGS}/os-mirror.asc"
# containerd, kubelet and every pod that watches files take inotify instances; the kernel's 128 are soon used up.
SYSCTLS = {"fs.inotify.max_user_instances": "8192", "fs.inotify.max_user_watches": "1048576"}
CHRONY = "/etc/chrony/chrony.conf"


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseSystemArgs:
    """`keys` are fetched by the nodes here, because a package source must be trusted before it is read.

    `keepers` are the names of the nodes that keep backups, `backup_login` the public key of those who hand them in.
    `rules` are each node's packet filter by its name; a node without any has none.
    """

    nodes: tuple[Node, ...]
    connections: Mapping[str, Connection]
    kubernetes: Kubernetes
    mirrors: Mirrors
    gate: pulumi.Resource
    ssh: Ssh
    rules: Mapping[str, str]
    upgrades: Upgrades
    model_cache: str  # folder of every worker's copy of the model
    keys: tuple[RemoteKey, ...] = ()
    gpu_keys: tuple[RemoteKey, ...] = ()  # fetched by GPU workers only
    keepers: frozenset[str] = frozenset()
    backup_login: pulumi.Input[str] = ""


class BaseSystem(pulumi.ComponentResource):
    """One configuration `<node>-base` for each node, none before preflight has passed."""

    ready: Mapping[str, Configuration]

    def __init__(self, name: str, args: BaseSystemArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("hosts", "BaseSystem"), name, None, opts)
        self.ready = {
            node.name: Configuration(
                f"{node.name}-base",
                base_configuration(args, node),
                pulumi.ResourceOptions(parent=self, depends_on=[args.gate]),
            )
            for node in args.nodes
        }
        self.register_outputs({})


def base_configuration(args: BaseSystemArgs, node: Node) -> ConfigurationArgs:
    """What one node gets; storage nodes run no kubelet and keep their swap and modules."""
    cluster = node.role is not Role.STORAGE
    keys = (*args.keys, *(args.gpu_keys if node.gpus else ())) if cluster else ()
    scripts = [authorize_keys(args.ssh, args.connections[node.name].user)] if rotating(args.ssh) else []
    scripts += [trust_key(key) for key in keys]
    if cluster:
        scripts.append(Script(path=f"{SCRIPTS}/load_modules.sh", environment={"MODULES": " ".join(MODULES)}))
    if cluster and swap_forbidden(args.kubernetes):
        scripts.append(Script(path=f"{SCRIPTS}/swap_off.sh"))
    if node.role is Role.WORKER:
        environment = {"CACHE": args.model_cache, "OWNER": str(MODEL_CACHE_USER)}
        scripts.append(Script(path=f"{SCRIPTS}/model_cache_folder.sh", environment=environment))
    files = base_files(args, node, cluster=cluster)
    if node.name in args.keepers:
        savers = tuple(each.address for each in args.nodes if each.role is Role.CONTROL_PLANE)
        files |= keeper_files(args.kubernetes.backup, args.backup_login, savers)
        scripts.append(keeper_script())
    # Last: whoever shuts himself out has the rest done.
    scripts += [firewall_script(on=node.name in args.rules), hardening_script(on=args.ssh.harden)]
    return ConfigurationArgs(
        connection=args.connections[node.name],
        files=files,
        sysctls=SYSCTLS if cluster else {},
        packages=dict.fromkeys(base_packages(args, node, keys), ""),
        units=base_units(args, node),
        scripts=tuple(scripts),
    )


def base_packages(args: BaseSystemArgs, node: Node, keys: Sequence[RemoteKey]) -> list[str]:
    """Any version of the distribution's: these are kept current by its security updates."""
    verifying = ["gpg"] if any(key.fingerprint for key in keys) else []
    filtering = ["nftables"] if node.name in args.rules else []
    updating = ["unattended-upgrades"] if args.upgrades.security else []
    return ["ca-certificates", "chrony", "curl", *verifying, *filtering, *updating]


def base_units(args: BaseSystemArgs, node: Node) -> dict[str, Unit]:
    """Units by name."""
    units = {"chrony.service": Unit(restart_on=(CHRONY,) if args.mirrors.time else ())}
    if args.upgrades.security:
        units |= {timer: Unit() for timer in ("apt-daily.timer", "apt-daily-upgrade.timer")}
    if node.name in args.rules:
        units |= firewall_units()
    return units | (hardening_units() if args.ssh.harden else {})


def base_files(args: BaseSystemArgs, node: Node, *, cluster: bool) -> dict[str, File]:
    """Files by path."""
    mirrors = args.mirrors
    files = {"/etc/apt/apt.conf.d/60qwen3-vl-upgrades": File(content=upgrades_conf(args.upgrades))}
    if node.name in args.rules:
        files |= firewall_files(args.rules[node.name])
    if args.ssh.harden:
        files |= hardening_files(args.connections[node.name].user)
    if cluster:
        files["/etc/modules-load.d/kubernetes.conf"] = File(content="".join(f"{module}\n" for module in MODULES))
    if mirrors.time:
        files[CHRONY] = File(content=chrony_conf(mirrors.time))
    return files | (os_sources(mirrors.os) if mirrors.os else {})


def chrony_conf(servers: Sequence[str]) -> str:
    """The distribution's configuration with these servers in place of its pool."""
    lines = "".join(f"server {server} iburst\n" for server in servers)
    return f"""\
{lines}driftfile /var/lib/chrony/chrony.drift
# A clock that is far off jumps while the first answers come in, and is only slewed later.
makestep 1 3
rtcsync
"""


def os_sources(mirror: AptMirror) -> dict[str, File]:
    """The distribution's packages from the mirror only: a source that cannot be reached fails every update."""
    key = key_text(mirror)
    keyring = OS_KEYRING if key else None
    emptied = File(content="# Replaced by /etc/apt/sources.list\n")
    files = {
        "/etc/apt/sources.list": File(content=source_lines(mirror, keyring)),
        "/etc/apt/sources.list.d/debian.sources": emptied,
        "/etc/apt/sources.list.d/ubuntu.sources": emptied,
    }
    return files | ({OS_KEYRING: File(content=key)} if key else {})


def rotating(ssh: Ssh) -> bool:
    return bool(ssh.authorized_keys or ssh.revoked_keys)


def authorize_keys(ssh: Ssh, user: str) -> Script:
    """Who may log in as `user`, beside those nothing is said of."""
    return Script(
        path=f"{SCRIPTS}/authorize_keys.sh",
        environment={
            "LOGIN_USER": user,
            "AUTHORIZED": "\n".join(ssh.authorized_keys),
            "REVOKED": "\n".join(ssh.revoked_keys),
        },
        deadline_seconds=60,
    )


def trust_key(key: RemoteKey) -> Script:
    """Fetch and verify a signing key."""
    return Script(
        path=f"{SCRIPTS}/trust_apt_key.sh",
        purpose=PurePosixPath(key.path).stem,
        environment={
            "KEY_URL": key.url,
            "KEY_PATH": key.path,
            "KEY_SHA256": key.sha256,
            "KEY_FINGERPRINT": key.fingerprint,
        },
    )
