"""What a lab keeps on disk: its folder, its keys, and the list of its nodes.

Everything lies under QWENVL_LAB_ROOT (default /var/lib/qwenvl-lab): `base/` is shared by all labs,
`<lab>/` belongs to one.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lab.machine import LabError, run
from lab.topology import Node, Topology

DEFAULT_ROOT = "/var/lib/qwenvl-lab"


@dataclass(frozen=True)
class Members:
    """The nodes of a lab: those of the topology file, minus those removed, plus those added since."""

    added: tuple[Node, ...] = ()
    removed: tuple[str, ...] = ()
    used: tuple[IPv4Address, ...] = ()

    def nodes(self, topology: Topology) -> tuple[Node, ...]:
        added = {node.name for node in self.added}
        kept = [node for node in topology.nodes if node.name not in self.removed and node.name not in added]
        return (*kept, *self.added)

    def with_node(self, node: Node) -> "Members":
        return Members((*self.added, node), tuple(name for name in self.removed if name != node.name), self.used)

    def without(self, name: str, topology: Topology) -> "Members":
        removed = set(self.removed)
        if any(node.name == name for node in topology.nodes):
            removed.add(name)
        return Members(tuple(node for node in self.added if node.name != name), tuple(sorted(removed)), self.used)

    def remembering(self, topology: Topology) -> "Members":
        """The same nodes, with every address they have noted as used: `lab add` never hands one out twice."""
        used = {*self.used, *(node.address for node in self.nodes(topology))}
        return Members(self.added, self.removed, tuple(sorted(used)))


class Store:
    """The folder of one lab."""

    def __init__(self, topology: Topology, root: Path | None = None) -> None:
        self.topology = topology
        self.root = root or Path(os.environ.get("QWENVL_LAB_ROOT", DEFAULT_ROOT))
        self.lab = self.root / topology.name
        self.base = self.root / "base"
        self.nodes = self.lab / "nodes"
        self.key = self.lab / "id_ed25519"
        self.known_hosts = self.lab / "known_hosts"
        self.state = self.lab / "state"
        self.mirror_pids = self.lab / "mirror"
        self.mirror_key = self.lab / "mirror-key.asc"  # named by the lab's stack config
        self.members_file = self.lab / "nodes.json"

    def exists(self) -> bool:
        return self.members_file.exists()

    def node(self, name: str) -> Path:
        return self.nodes / name

    def used_bases(self) -> set[str]:
        """Names of the bases that any node of any lab stands on."""
        names = set()
        for path in self.root.glob("*/nodes/*/node.json"):
            try:
                names.add(str(json.loads(path.read_text())["base"]))
            except (OSError, ValueError, KeyError):
                continue  # `up` makes a node without a readable record again, on the current base
        return names

    def any_lab(self) -> bool:
        """Whether any lab is left on this machine."""
        return any(self.root.glob("*/nodes.json"))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one command at a time change this lab; a second one waits."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / f"{self.topology.name}.lock"
        while True:
            with path.open("w") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                # A `down` that just finished removed the file this one waited on: lock the new one.
                if not path.exists() or not os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                    continue
                yield
                if not self.lab.exists():
                    path.unlink(missing_ok=True)
                return

    def members(self) -> Members:
        """The recorded nodes; none added or removed when there is no record (or a torn one)."""
        try:
            data = json.loads(self.members_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return Members()
        where = str(self.members_file)
        return Members(
            tuple(Node.from_dict(entry, where) for entry in data.get("added", [])),
            tuple(data.get("removed", [])),
            tuple(IPv4Address(text) for text in data.get("used_addresses", [])),
        )

    def save(self, members: Members) -> None:
        """Write nodes.json: the record of the lab, and what tests and programs read to find the nodes."""
        topology = self.topology
        data: dict[str, Any] = {
            "lab": topology.name,
            "gateway": str(topology.gateway),
            "bridge": topology.bridge,
            "user": topology.user,
            "key": str(self.key),
            "known_hosts": str(self.known_hosts),
            "nodes": [node.as_dict() for node in members.nodes(topology)],
            "added": [node.as_dict() for node in members.added],
            "removed": list(members.removed),
            "used_addresses": [str(address) for address in members.used],
        }
        write_whole(self.members_file, json.dumps(data, indent=2) + "\n")

    def require_member(self, name: str) -> Node:
        """The node of that name. Raises LabError when the lab is not up or has no such node."""
        if not self.exists():
            raise LabError(f"lab {self.topology.name}: not up; run `lab/lab up`")
        nodes = {node.name: node for node in self.members().nodes(self.topology)}
        if name not in nodes:
            raise LabError(f"{name}: no node of lab {self.topology.name}; one of {', '.join(nodes)}")
        return nodes[name]

    def ensure_key(self) -> None:
        """Make the operator's key once; it stays until `down`."""
        self.lab.mkdir(parents=True, exist_ok=True)
        public = self.key.with_suffix(".pub")
        if self.key.exists() and public.exists():
            return
        self.key.unlink(missing_ok=True)
        public.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab-{self.topology.name}", "-f", self.key)

    def ensure_state(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)

    def clear_state(self) -> None:
        """Forget what Pulumi knows: it described nodes that are gone."""
        shutil.rmtree(self.state, ignore_errors=True)

    def write_known_hosts(self, members: Members) -> None:
        """One line per node, by address and by name, from the keys made with the node."""
        lines = []
        for node in members.nodes(self.topology):
            public = self.node(node.name) / "host-keys" / "ssh_host_ed25519_key.pub"
            kind, key = public.read_text().split()[:2]
            lines.append(f"{node.address},{node.name} {kind} {key}\n")
        write_whole(self.known_hosts, "".join(lines))


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that a reader, or a crash, never sees half of it; untouched when it already says so."""
    if path.exists() and path.read_text() == text:
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)
