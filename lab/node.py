"""One node: an LXC system container with its own disk, identity and network cable."""

import json
import os
import shutil
import socket
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from lab import base, cgroups, network
from lab.base import Base
from lab.machine import HERE, LabError, run
from lab.store import Store, write_whole
from lab.topology import Node, Topology

VOLUMES = {  # not on the overlay: containerd, etcd and an NFS server need a real filesystem under them
    "containerd": "var/lib/containerd",
    "kubelet": "var/lib/kubelet",
    "etcd": "var/lib/etcd",
    "exports": "exports",
    "log": "var/log",
}
KEYRING = "usr/share/keyrings/qwenvl-lab.gpg"
GPUS = "run/cdi/qwenvl-lab-gpus"  # in a folder that NVIDIA's device plugin mounts, so its stand-in needs no mount of its own


class Plan(Enum):
    """What `up` does with a node."""

    KEEP = "runs"
    START = "is stopped"
    CREATE = "is new or half made"
    REBUILD = "lost its disk or its base"


@dataclass(frozen=True)
class Facts:
    """What is on disk and in the kernel of one node; `plan` decides on nothing else."""

    record: dict[str, str] | None
    prepared: bool
    base_identity: str | None
    running: bool


def plan(wanted: Node, facts: Facts) -> Plan:
    """Decide what a node needs, from facts alone."""
    if facts.record is None:
        return Plan.CREATE
    if not facts.prepared or facts.base_identity is None or facts.base_identity != facts.record.get("base_identity"):
        return Plan.REBUILD
    if facts.record.get("address") != str(wanted.address):
        return Plan.REBUILD
    return Plan.KEEP if facts.running else Plan.START


def config(topology: Topology, node: Node, folder: Path, base_path: Path) -> str:
    """The LXC configuration. No capability or device is taken away: kubelet and containerd run inside."""
    volumes = "\n".join(
        f"lxc.mount.entry = {folder}/volumes/{name} {target} none bind,create=dir 0 0"
        for name, target in VOLUMES.items()
    )
    return f"""\
lxc.uts.name = {node.name}
lxc.rootfs.path = overlayfs:{base_path}:{folder}/delta
lxc.net.0.type = veth
lxc.net.0.link = {topology.bridge}
lxc.net.0.flags = up
lxc.net.0.name = eth0
lxc.net.0.hwaddr = {network.hardware_address(node.address)}
lxc.net.0.veth.pair = {topology.veth(node.name)}
lxc.net.0.ipv4.address = {node.address}/{topology.gateway.network.prefixlen}
lxc.net.0.ipv4.gateway = {topology.gateway.ip}
lxc.apparmor.profile = unconfined
lxc.cap.drop =
lxc.cgroup.dir.monitor = {cgroups.monitor(topology.name, node.name)}
lxc.cgroup.dir.container = {cgroups.payload(topology.name, node.name)}
lxc.cgroup.devices.allow = a
lxc.autodev = 1
lxc.mount.auto = proc:rw sys:rw cgroup:rw:force
lxc.mount.entry = /dev/kmsg dev/kmsg none bind,create=file 0 0
lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file,optional 0 0
{volumes}
lxc.init.cmd = /sbin/init
"""


def unmount_below(folder: Path) -> None:
    """Detach what is mounted inside a folder, so that removing the folder cannot reach into it."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for path in reversed([path for path in mounted if path.startswith(f"{folder}/")]):
        run("umount", "--lazy", path)


class Machine:
    """The container that stands for one node."""

    def __init__(self, store: Store, node: Node) -> None:
        self.store = store
        self.node = node
        self.folder = store.node(node.name)
        self.record_file = self.folder / "node.json"
        self.interface = store.topology.veth(node.name)

    def _lxc(self, program: str, *arguments: str | Path, check: bool = True, timeout: float = 60) -> str:
        return run(
            program, "-P", self.store.nodes, "-n", self.node.name, *arguments, check=check, timeout=timeout
        ).stdout

    def init_pid(self) -> int | None:
        """Process id of the node's init on this machine; None when the node does not run."""
        if not (self.folder / "config").exists() or shutil.which("lxc-info") is None:
            return None
        text = self._lxc("lxc-info", "-pH", check=False).strip()
        return int(text) if text.isdigit() and Path(f"/proc/{text}").exists() else None

    def running(self) -> bool:
        return self.init_pid() is not None

    def facts(self) -> Facts:
        try:
            record = json.loads(self.record_file.read_text())
        except (OSError, json.JSONDecodeError):
            record = None
        found = base.read(self.store.base / record["base"]) if record else None
        return Facts(
            record=record,
            prepared=(self.folder / "delta/etc/machine-id").exists(),
            base_identity=found.identity if found else None,
            running=self.running(),
        )

    def create(self, built: Base) -> None:
        """Give the node an empty disk on `built`, keeping the host key it had."""
        topology = self.store.topology
        keys = self.folder / "host-keys"
        keys.mkdir(parents=True, exist_ok=True)
        private = keys / "ssh_host_ed25519_key"
        if not (private.exists() and private.with_suffix(".pub").exists()):
            private.unlink(missing_ok=True)
            private.with_suffix(".pub").unlink(missing_ok=True)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{self.node.name}", "-f", private)
        run(
            "unshare", "--mount", HERE / "prepare-node.sh", self.folder, built.path, self.node.name,
            str(self.node.address), str(topology.gateway.ip), topology.user, self.store.key.with_suffix(".pub"),
        )  # fmt: skip
        write_whole(self.folder / "config", config(topology, self.node, self.folder, built.path))
        record = {"address": str(self.node.address), "base": built.path.name, "base_identity": built.identity}
        write_whole(self.record_file, json.dumps(record) + "\n")

    def wipe(self) -> None:
        """Throw the disk away; the host key stays. The node must not run."""
        self.record_file.unlink(missing_ok=True)
        unmount_below(self.folder)
        for name in ("delta", "work", "volumes", "rootfs"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        left = [name for name in ("delta", "volumes") if (self.folder / name).exists()]
        if left:
            raise LabError(f"{self.node.name}: {self.folder / left[0]} cannot be removed; something still uses it")

    def start(self) -> None:
        """Switch the node on; returns when its init runs."""
        self._end_leftovers()
        self._furnish()
        log = self.folder / "lxc.log"
        log.unlink(missing_ok=True)
        try:
            self._lxc("lxc-start", "-d", "-l", "WARN", "-o", log)
        except LabError as error:
            reason = [line for line in log.read_text().splitlines() if " ERROR " in line] if log.exists() else []
            raise LabError(f"{self.node.name}: did not start: {reason[0] if reason else error}; see {log}") from error

    def _furnish(self) -> None:
        """Have each boot of a worker provide what the stand-in for its GPUs reads."""
        if self.node.role == "worker":
            rules = self.folder / "delta/etc/tmpfiles.d/qwenvl-lab.conf"
            rules.parent.mkdir(parents=True, exist_ok=True)
            rules.write_text(f"d /run/cdi 0755 root root -\nf+ /{GPUS} 0644 root root - {self.node.gpus}\n")

    def kill(self) -> None:
        """Power cut: nothing is told, nothing is flushed."""
        if self.running():
            self._lxc("lxc-stop", "-k")
        self._end_leftovers()

    def _end_leftovers(self) -> None:
        """End what outlived its monitor and would still hold the node's address and disk."""
        cgroups.end(self.store.topology.name, self.node.name)
        if network.exists(self.interface):
            run("ip", "link", "delete", self.interface, check=False)

    def remove(self) -> None:
        self.kill()
        self.wipe()
        shutil.rmtree(self.folder)

    def trust_packages(self, key: bytes) -> None:
        """Put the mirror's signing key where the package source expects it."""
        pid = self.init_pid()
        if pid is None:
            return
        path = Path(f"/proc/{pid}/root") / KEYRING
        if not path.exists() or path.read_bytes() != key:
            path.write_bytes(key)
            path.chmod(0o644)

    def answers(self, timeout: float = 0.3) -> bool:
        """Whether sshd greets within `timeout` seconds."""
        try:
            with socket.create_connection((str(self.node.address), 22), timeout=timeout) as connection:
                connection.settimeout(timeout)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait(self, deadline: float) -> None:
        """Wait for sshd until `deadline` (time.monotonic). Raises LabError when the node stays silent."""
        while not self.answers():
            if not self.running():
                raise LabError(f"{self.node.name}: stopped while starting; see {self.folder}/lxc.log")
            if time.monotonic() > deadline:
                raise LabError(f"{self.node.name}: sshd at {self.node.address} is silent; see `lab/lab status`")
            time.sleep(0.1)

    def system_state(self) -> str:
        """What systemd says of the whole node: running, starting, degraded, ...; off when it does not run."""
        if not self.running():
            return "off"
        text = self._lxc("lxc-attach", "--", "systemctl", "is-system-running", check=False, timeout=20).strip()
        return text or "starting"

    def ssh(self, command: list[str]) -> None:
        """Become an ssh session on the node; does not return."""
        store = self.store
        words = ["ssh", "-F", "none", "-i", str(store.key), "-o", "IdentitiesOnly=yes"]
        words += ["-o", f"UserKnownHostsFile={store.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
        words += ["-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR", f"{store.topology.user}@{self.node.address}"]
        os.execvp("ssh", [*words, "--", *command] if command else words)  # noqa: S606 (ssh takes over this process)
