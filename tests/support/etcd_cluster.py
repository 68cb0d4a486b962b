"""Three control planes as folders, their etcd as real processes: the product's own scripts run on them.

What is not real: a loop in the place of kubelet, which runs etcd while its manifest is there; a bare port in the place of the API
server; `ctr`, which shows the folder with etcd's programs; `ssh`, which runs the keeper's forced command.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from components.cluster import backup
from components.settings.backup import Backup
from components.settings.nodes import Node, Role
from host.remote import BOOT
from host.resources import Connection
from tests.support.certificates import Issued, ecdsa, issue
from tests.support.chat_processes import own_network
from tests.support.scripts import ROOT, sent

SCRIPTS = ROOT / "components/cluster/scripts"
RECEIVER = ROOT / "components/hosts/scripts/receive_backup.sh"
API_PORT = 6443
PATIENCE = 120.0
"""Seconds for what takes about two, on a machine that is busy with something else."""
NETWORK = own_network(80)

CTR = """\
#!/bin/bash
case "$3 $4" in
  "images mount") mkdir -p "$6/usr/local/bin" && ln -s {programs}/etcdctl {programs}/etcdutl "$6/usr/local/bin/" ;;
  "images unmount") rm -rf -- "$6/usr" ;;
esac
"""
SSH = """\
#!/bin/bash
for word; do case $word in HostKeyAlias=*) keeper=${{word#*=}} ;; esac; done
[[ ! -e {folder}/$keeper/away ]] || {{ echo "ssh: connect to host $keeper port 22: No route to host" >&2; exit 255; }}
HOME={folder}/$keeper/var/lib/qwen3-vl-backups SSH_ORIGINAL_COMMAND=${{!#}} exec bash {receiver} 3 30
"""


@cache
def programs() -> Path:
    """The folder with etcd, etcdctl and etcdutl, as the lab's image has them; builds them where they are missing."""
    done = subprocess.run([str(ROOT / "tools/build"), "etcd"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip().split("\t")[1])


def server_certificate(authority: Issued, address: str) -> Issued:
    """One that serves and asks, as kubeadm's for etcd."""
    key = ecdsa()
    # Loopback too: from there comes what one of them says to another on this machine.
    held = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(each)) for each in (address, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(
            authority.certificate.subject, x509.Name([]), key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(held, critical=True)
        .sign(authority.key, hashes.SHA256())
    )
    return Issued(signed, key)


class ControlPlane:
    """One node: a folder for its root, and whoever does kubelet's work for it."""

    def __init__(self, folder: Path, number: int, group: Group) -> None:
        self.name, self.address = f"master-{number}", f"{NETWORK}.{number}"
        self.root, self.group = folder / self.name, group
        self.etcd: subprocess.Popen[bytes] | None = None
        self.api: socket.socket | None = None
        self.lost = False

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def install(self, node: Node, connections: dict[str, Connection], recipient: str) -> None:
        """What `up` puts there."""
        pki = "/etc/kubernetes/pki"
        for name, text in self.group.keys.items():
            self.write(f"/etc/kubernetes/{name}", text)
        own = server_certificate(self.group.authority, self.address)
        self.write(f"{pki}/etcd/server.crt", own.pem)
        self.write(f"{pki}/etcd/server.key", own.key_pem)
        for component in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            self.write(f"/etc/kubernetes/manifests/{component}.yaml", f"    image: registry/{component}:v1\n")
        others = [way for name, way in sorted(connections.items()) if name != self.name]
        plan = Backup(every_hours=6, keep=3)
        self.write(f"{backup.CONFIG}/settings", backup.settings(plan, node))
        self.write(f"{backup.CONFIG}/keepers", backup.keepers(others))
        self.write(f"{backup.CONFIG}/recipient.pem", recipient)
        (self.path("/var/lib/qwen3-vl-backups") / "received").mkdir(parents=True)
        self.path("/var/lib/etcd").mkdir(parents=True)

    def run(self, script: str, verb: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        told = {"NODE_NAME": self.name, "NODE_ADDRESS": self.address, "API_PORT": str(API_PORT)}
        return subprocess.run(
            ["bash", "-c", BOOT, script, verb],
            input=sent(SCRIPTS / script, self.root, stdin),
            capture_output=True,
            timeout=600,
            env={"PATH": f"{self.group.bin}:{os.environ['PATH']}", "LC_ALL": "C", **told, **environment},
        )

    def backups(self, folder: str = "own") -> list[str]:
        return sorted(path.name for path in (self.path("/var/lib/qwen3-vl-backups") / folder).glob("etcd-*.cms"))

    def reconcile(self) -> None:
        """What kubelet does: the static pods of the manifests that are there, no others."""
        wanted = self.path("/etc/kubernetes/manifests")
        if (wanted / "etcd.yaml").exists() and not self.lost:
            if self.etcd is None or self.etcd.poll() is not None:
                self.etcd = self._etcd()
        elif self.etcd is not None:
            self.end()
        if (wanted / "kube-apiserver.yaml").exists() and not self.lost:
            if self.api is None:
                self.api = socket.create_server((self.address, API_PORT), reuse_port=True)
        elif self.api is not None:
            self.api.close()
            self.api = None

    def _etcd(self) -> subprocess.Popen[bytes]:
        pki, tls = self.path("/etc/kubernetes/pki/etcd"), []
        for side in ("", "peer-"):
            client = f"{side}client-cert-auth"
            tls += [f"--{side}cert-file={pki}/server.crt", f"--{side}key-file={pki}/server.key"]
            tls += [f"--{side}trusted-ca-file={pki}/ca.crt", f"--{client}"]
        clients, peers = f"https://{self.address}:2379", f"https://{self.address}:2380"
        members = ",".join(f"{each.name}=https://{each.address}:2380" for each in self.group.nodes)
        with (self.root / "etcd.log").open("ab") as log:
            return subprocess.Popen(
                [programs() / "etcd", f"--name={self.name}", f"--data-dir={self.path('/var/lib/etcd')}", *tls,
                 f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}", f"--listen-peer-urls={peers}",
                 f"--initial-advertise-peer-urls={peers}", f"--initial-cluster={members}",
                 "--heartbeat-interval=500", "--election-timeout=5000"],
                stdout=log, stderr=log,
            )  # fmt: skip

    def end(self) -> None:
        if self.etcd is not None:
            self.etcd.kill()
            self.etcd.wait()
            self.etcd = None


class Group:
    """The three, and a fourth folder that keeps copies: `storage-1`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.reader = issue("the reader")
        self.authority = issue()
        self.nodes = [ControlPlane(folder, number, self) for number in (1, 2, 3)]
        names = ("ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "front-proxy-ca.key")
        self.keys = {f"pki/{name}": f"{name} of the cluster\n" for name in names} | {
            "pki/etcd/ca.crt": self.authority.pem,
            "pki/etcd/ca.key": self.authority.key_pem,
            "apiserver/encryption.yaml": "the keys of Secrets\n",
        }
        self._stop = threading.Event()
        self._kubelet = threading.Thread(target=self._reconcile, daemon=True)

    def __enter__(self) -> Self:
        self.bin.mkdir(parents=True)
        self._program("ctr", CTR.format(programs=programs()))
        self._program("ssh", SSH.format(folder=shlex.quote(str(self.folder)), receiver=shlex.quote(str(RECEIVER))))
        self._program("curl", "#!/bin/bash\n")
        (self.folder / "storage-1/var/lib/qwen3-vl-backups/received").mkdir(parents=True)
        machines = [Node(name=each.name, address=each.address, role=Role.CONTROL_PLANE) for each in self.nodes]
        ways = {each.name: Connection(node=each.name, address=each.address) for each in self.nodes}
        ways["storage-1"] = Connection(node="storage-1", address=f"{NETWORK}.9")
        for node, machine in zip(self.nodes, machines, strict=True):
            node.install(machine, ways, self.reader.pem)
        self._kubelet.start()
        self.until_healthy()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._kubelet.join()
        for node in self.nodes:
            node.end()
            if node.api is not None:
                node.api.close()

    def _program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def _reconcile(self) -> None:
        while not self._stop.wait(0.2):
            for node in self.nodes:
                node.reconcile()

    def etcdctl(self, node: ControlPlane, *words: str) -> str:
        """Raises CalledProcessError while etcd does not answer."""
        pki = node.path("/etc/kubernetes/pki/etcd")
        # etcdctl's own five seconds are few on a busy machine.
        tls = [
            "--command-timeout=60s",
            "--dial-timeout=60s",
            "--cacert",
            f"{pki}/ca.crt",
            "--cert",
            f"{pki}/server.crt",
            "--key",
            f"{pki}/server.key",
        ]
        command = [str(programs() / "etcdctl"), "--endpoints", f"https://{node.address}:2379", *tls, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout

    def until_healthy(self) -> None:
        """Every member answers, which takes a majority of them."""
        end = time.monotonic() + PATIENCE
        for node in self.nodes:
            while not self._answers(node):
                assert time.monotonic() < end, (node.root / "etcd.log").read_text()[-3000:]
                time.sleep(0.2)

    def _answers(self, node: ControlPlane) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
            self.etcdctl(node, "endpoint", "health")
            return True
        return False

    @contextlib.contextmanager
    def keeper_away(self, name: str) -> Iterator[None]:
        mark = self.folder / name / "away"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink()
