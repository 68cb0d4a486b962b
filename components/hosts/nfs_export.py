"""The model store of a storage node: an NFSv4 export that the workers may read and one named machine may write.

Two servers to choose from, the kernel's and NFS-Ganesha. Whoever reads is nobody in particular (`all_squash`), from whatever
port: the readers are unprivileged programs. The data is the site's, so nothing here ever deletes any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import pulumi

from components.naming import token
from components.settings import ModelStore, Node
from host.resources import Configuration, ConfigurationArgs, Connection, File, Script, Unit

SCRIPTS = "components/hosts/scripts"
WRITER_ID = 20490  # user and group of what the writer writes; above those that adduser hands out first, below 60000
GRACE_SECONDS = 10  # after a start, clients may only reclaim; the default of 90 s would hold up a fill for nothing
KERNEL_UNIT, GANESHA_UNIT = "nfs-server.service", "nfs-ganesha.service"


@dataclass(frozen=True, kw_only=True, slots=True)
class NfsExportArgs:
    """`readers` are addresses or networks, `writer` the one address that may write; `after` are the nodes' base systems."""

    nodes: tuple[Node, ...]
    connections: Mapping[str, Connection]
    store: ModelStore
    readers: tuple[IPv4Network, ...]
    writer: IPv4Address | None
    after: Mapping[str, pulumi.Resource]


class NfsExport(pulumi.ComponentResource):
    """One configuration `<node>-nfs` for each storage node."""

    ready: Mapping[str, Configuration]

    def __init__(self, name: str, args: NfsExportArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("hosts", "NfsExport"), name, None, opts)
        self.ready = {
            node.name: Configuration(
                f"{node.name}-nfs",
                export_configuration(args, node),
                pulumi.ResourceOptions(parent=self, depends_on=[args.after[node.name]]),
            )
            for node in args.nodes
        }
        self.register_outputs({})


def export_configuration(args: NfsExportArgs, node: Node) -> ConfigurationArgs:
    """What one storage node gets. The text file in the export also makes the folder, before the server looks for it."""
    path = args.store.path
    ganesha = args.store.nfs_server == "ganesha"
    server = (
        ganesha_files(path, args.readers, args.writer) if ganesha else kernel_files(path, args.readers, args.writer)
    )
    unit = GANESHA_UNIT if ganesha else KERNEL_UNIT
    environment = {"EXPORT": path, "OWNER": str(WRITER_ID if args.writer else 0)}
    return ConfigurationArgs(
        connection=args.connections[node.name],
        files={
            f"{path}/LAYOUT.txt": File(content=LAYOUT),
            **{name: File(content=text) for name, text in server.items()},
        },
        packages=dict.fromkeys(("nfs-ganesha", "nfs-ganesha-vfs") if ganesha else ("nfs-kernel-server",), ""),
        units={unit: Unit(restart_on=tuple(server))},
        scripts=(Script(path=f"{SCRIPTS}/protect_export.sh", environment=environment),),
        removal=(Script(path=f"{SCRIPTS}/end_export.sh", environment=environment),),
    )


LAYOUT = """\
One folder for each model, in it one for each revision, in that the model's files and their digests:

  Qwen3-VL-4B-Instruct/r1/SHA256SUMS
  Qwen3-VL-4B-Instruct/r1/config.json
  ...

`tools/import-model` makes them. A revision never changes: other content gets another name.
"""


def kernel_files(path: str, readers: tuple[IPv4Network, ...], writer: IPv4Address | None) -> dict[str, str]:
    """Path -> text: exports(5) and nfs.conf(5)."""
    common = "sync,no_subtree_check,insecure,sec=sys,all_squash"
    clients = [f"{plain(network)}(ro,{common})" for network in readers]
    if writer:
        # First: an address that is also in a readers' network counts as the writer's.
        clients.insert(0, f"{writer}(rw,{common},anonuid={WRITER_ID},anongid={WRITER_ID})")
    return {
        "/etc/exports.d/qwen3-vl.exports": f"{path} \\\n  " + " \\\n  ".join(clients) + "\n",
        "/etc/nfs.conf.d/qwen3-vl.conf": f"""\
[nfsd]
threads = 16
vers3 = n
udp = n
grace-time = {GRACE_SECONDS}
lease-time = {GRACE_SECONDS}
""",
        f"/etc/systemd/system/{KERNEL_UNIT}.d/qwen3-vl.conf": drop_in(GANESHA_UNIT),
    }


def ganesha_files(path: str, readers: tuple[IPv4Network, ...], writer: IPv4Address | None) -> dict[str, str]:
    """Path -> text: ganesha-core-config(8), ganesha-export-config(8)."""
    writing = f"""\
  CLIENT {{
    Clients = {writer};
    Protocols = 4;
    Access_Type = RW;
    Squash = All_Squash;
    Anonymous_Uid = {WRITER_ID};
    Anonymous_Gid = {WRITER_ID};
  }}
"""
    return {
        "/etc/ganesha/ganesha.conf": f"""\
NFS_CORE_PARAM {{
  Protocols = 4;
  Enable_UDP = false;
  Enable_NLM = false;
  Enable_RQUOTA = false;
}}
NFSv4 {{
  Grace_Period = {GRACE_SECONDS};
  Lease_Lifetime = {GRACE_SECONDS};
  RecoveryBackend = fs;
  Only_Numeric_Owners = true;
}}
EXPORT {{
  Export_Id = 1;
  Path = {path};
  Pseudo = {path};
  Protocols = 4;
  Transports = TCP;
  SecType = sys;
  Access_Type = None; # whoever is not named below
{writing if writer else ""}\
  CLIENT {{
    Clients = {", ".join(map(plain, readers))};
    Protocols = 4;
    Access_Type = RO;
    Squash = All_Squash;
  }}
  FSAL {{
    Name = VFS;
  }}
}}
""",
        f"/etc/systemd/system/{GANESHA_UNIT}.d/qwen3-vl.conf": drop_in(KERNEL_UNIT)
        + "\n[Service]\nRestart=on-failure\nRestartSec=2\n",
    }


def drop_in(other: str) -> str:
    """Only one server can have the port: starting this one ends the other, after a change of `modelStore.nfsServer`."""
    return f"[Unit]\nConflicts={other}\nAfter={other}\n"


def plain(network: IPv4Network) -> str:
    """A single machine without its /32."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
