"""Runs the checked-in root scripts on a make-believe node: a folder for its root, stand-ins for the programs that change things.

The script's text is the checked-in one with the node's folders put in front of its absolute paths; it is read from standard
input with its own input behind it, exactly as the host provider sends it.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from host.remote import BOOT

ROOT = Path(__file__).resolve().parent.parent.parent
_PATHS = re.compile(
    r"(?<![\w.$}/:*-])/(etc|var/lib|var/log/pods|lib/modules|run|proc/swaps|proc/filesystems|proc/sys/net|proc/driver|sys/firmware|usr/src|usr/local/sbin|sys/module|sys/class/net|opt/cni)\b"
)

# Every stand-in writes its name and arguments down, then does what the test says, else succeeds.
STAND_IN = """\
#!/bin/bash
name=${0##*/}
printf '%s\\n' "$name $*" >>"$NODE_ROOT/calls"
if [[ -e $NODE_ROOT/programs/$name ]]; then . "$NODE_ROOT/programs/$name"; fi
"""
KUBEADM = """\
pieces() {
  mkdir -p "$NODE_ROOT/etc/kubernetes/pki/etcd" "$NODE_ROOT/etc/kubernetes/manifests" "$NODE_ROOT/var/lib/kubelet/pki"
  for piece in kubelet.conf admin.conf controller-manager.conf scheduler.conf; do
    echo "    server: https://192.0.2.10:6443" >"$NODE_ROOT/etc/kubernetes/$piece"
  done
  for piece in pki/ca.crt pki/ca.key pki/apiserver.crt pki/etcd/server.crt manifests/etcd.yaml manifests/kube-apiserver.yaml \\
    manifests/kube-controller-manager.yaml manifests/kube-scheduler.yaml; do
    echo x >"$NODE_ROOT/etc/kubernetes/$piece"
  done
  echo x >"$NODE_ROOT/var/lib/kubelet/config.yaml"
  echo x >"$NODE_ROOT/var/lib/kubelet/pki/kubelet-client-current.pem"
}
config=
for argument; do
  if [[ $config == next ]]; then config=$(cat "$argument"); printf '%s\\n' "$config" >>"$NODE_ROOT/configs"; break; fi
  if [[ $argument == --config ]]; then config=next; fi
done
case $1 in
  init) if [[ $2 == phase ]]; then pieces; else pieces; mkdir -p "$NODE_ROOT/var/lib/etcd/member"; fi ;;
  join) pieces; if [[ $config == *controlPlane:* ]]; then mkdir -p "$NODE_ROOT/var/lib/etcd/member"; fi ;;
  reset)
    rm -rf "$NODE_ROOT/etc/kubernetes" "$NODE_ROOT/var/lib/kubelet"
    mkdir -p "$NODE_ROOT/etc/kubernetes" "$NODE_ROOT/var/lib/kubelet"
    ;;
esac
"""


def sent(script: Path, root: Path, stdin: bytes = b"") -> bytes:
    """What BOOT reads: the script, for a node whose root is the folder `root`, and its own input behind it."""
    body = _PATHS.sub(rf"{root}/\1", script.read_text()).encode()
    return f"{len(body)}\n".encode() + body + stdin


@dataclass(frozen=True, slots=True)
class Ran:
    """How a script ended."""

    code: int
    output: str
    errors: str
    calls: list[str]  # programs that were called, in order, with their arguments


@dataclass(slots=True)
class FakeNode:
    """One node.

    `kubelet` says whether it runs, `endpoint` whose API answers at the cluster's address: nobody's, the one whose CA lies on
    the node, or another; `local_api` whether the node's own does. `programs` is what stand-ins do instead of succeeding.
    """

    root: Path
    kubelet: bool = True
    endpoint: Literal["silent", "own", "foreign"] = "silent"
    local_api: bool = False
    programs: dict[str, str] = field(default_factory=dict)
    patience: float = 600  # seconds for a script to end: a busy machine takes its time for every process

    def __post_init__(self) -> None:
        for folder in (
            "bin",
            "programs",
            "etc/kubernetes/manifests",
            "etc/kubeadm",
            "var/lib/kubelet",
            "var/lib/etcd",
            "run",
        ):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.program("kubeadm", KUBEADM)
        self.program("kubectl", "exit 1")
        for name in ("systemctl", "curl", "ip", "nft", "swapoff", "iptables-save", "ip6tables-save", "modprobe"):
            self.program(name, "")

    def program(self, name: str, behaviour: str) -> None:
        """Let the stand-in `name` do this."""
        path = self.root / "bin" / name
        path.write_text(STAND_IN)
        path.chmod(0o755)
        (self.root / "programs" / name).write_text(behaviour)

    def write(self, path: str, text: str = "x\n") -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def exists(self, path: str) -> bool:
        return (self.root / path.lstrip("/")).exists()

    def run(self, script: str, verb: str, stdin: str = "", **environment: str) -> Ran:
        """Run the script at `script` (relative to the project) as the provider would."""
        self.program("systemctl", "" if self.kubelet else "if [[ $1 == is-active ]]; then exit 3; fi")
        verified = "exit 0" if self.endpoint == "own" else "exit 60"
        at_endpoint = "exit 7" if self.endpoint == "silent" else f"if [[ $* == *--cacert* ]]; then {verified}; fi"
        at_node = f'if [[ $* == *"//$NODE_ADDRESS:"* ]]; then exit {0 if self.local_api else 7}; fi'
        self.program("curl", f"{at_node}\n{at_endpoint}")
        for name, behaviour in self.programs.items():
            self.program(name, behaviour)
        (self.root / "calls").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", BOOT, script, verb],
            input=sent(ROOT / script, self.root, stdin.encode()).decode(),
            capture_output=True,
            text=True,
            timeout=self.patience,
            env={
                "PATH": f"{self.root}/bin:{os.environ['PATH']}",
                "LC_ALL": "C",
                "NODE_ROOT": str(self.root),
                "HOME": str(self.root),  # programs keep what they like there, and not where the tests were started
                **environment,
            },
        )
        calls = self.root / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return Ran(done.returncode, done.stdout, done.stderr, lines)

    def texts(self) -> str:
        """All that lies on the node, for a test that looks for what must not."""
        kept = [path for part in ("etc", "var", "run") for path in (self.root / part).rglob("*") if path.is_file()]
        return "\n".join(path.read_text() for path in kept)
