"""A real OpenSSH server on loopback, with keys, log and PATH of its own: what the provider's tests log in to."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SSHD = "/usr/sbin/sshd"


def free_port(address: str = "127.0.0.1") -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair with ssh-keygen and return the private key's path."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def _mount(path: str, source: str) -> str:
    if source.startswith("overlay "):
        folder = source.split(maxsplit=1)[1]
        options = f"lowerdir={path},upperdir={folder}/upper,workdir={folder}/work"
        return f"mkdir -p {folder}/upper {folder}/work && mount -t overlay -o {shlex.quote(options)} overlay {shlex.quote(path)}"
    if source.startswith("tmpfs "):
        return f"mount -t tmpfs -o size={source.split()[1]} tmpfs {shlex.quote(path)}"
    return f"mount --bind {shlex.quote(source)} {shlex.quote(path)}"


@dataclass
class SshServer:
    """One sshd. `programs` lies first on the PATH of everything it starts; put stand-ins there."""

    folder: Path
    authorized: Path  # private key whose public half may log in
    address: str = "127.0.0.1"
    port: int = 0
    user: str = "root"
    key_types: tuple[str, ...] = ("ed25519",)
    options: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(
        default_factory=dict
    )  # path -> folder shown there, `tmpfs <size>`, or `overlay <folder>`; sessions only
    network: str | None = None  # a network namespace's name; `port` must then be given
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        if not Path(SSHD).exists():
            raise RuntimeError(
                f"{SSHD} is missing; the provider's tests log in to a real sshd. apt-get install openssh-server"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port(self.address if self.address != "0.0.0.0" else "127.0.0.1")  # noqa: S104
        self.programs = self.folder / "bin"
        self.programs.mkdir(exist_ok=True)
        self.log_file = self.folder / "sshd.log"
        for kind in self.key_types:
            if not (key := self.folder / f"host_{kind}").exists():
                make_key(key, kind)
        keys = self.folder / "authorized_keys"
        shutil.copy(f"{self.authorized}.pub", keys)
        lines = {
            "Port": str(self.port),
            "ListenAddress": self.address,
            "AuthorizedKeysFile": str(keys),
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "StrictModes": "no",
            "PidFile": "none",
            "LogLevel": "VERBOSE",
            "SetEnv": f"PATH={self.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        } | dict(self.options)
        text = "".join(f"HostKey {self.folder}/host_{kind}\n" for kind in self.key_types)
        (self.folder / "sshd_config").write_text(text + "".join(f"{key} {value}\n" for key, value in lines.items()))

    def start(self) -> SshServer:
        # sshd's privilege separation wants this folder; a booted system makes it at start.
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        command = [SSHD, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.log_file)]
        if self.mounts:
            # A mount namespace of its own: the machine's own folders are neither seen nor touched.
            steps = [_mount(path, source) for path, source in self.mounts.items()]
            command = ["unshare", "--mount", "bash", "-c", f"{' && '.join(steps)} && exec {shlex.join(command)}"]
        if self.network is not None:
            command = ["nsenter", f"--net=/run/netns/{self.network}", *command]
        ready = "Server listening"
        before = self.log().count(ready)  # of an earlier start
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while self.log().count(ready) == before:
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"sshd did not start: {self.log()}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """End the listener; sessions it already has live on, as with a real sshd."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def __enter__(self) -> SshServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def host_key(self, kind: str = "ed25519") -> str:
        """The public host key, as it stands in `hostKeys`."""
        return (self.folder / f"host_{kind}.pub").read_text().strip()

    def known_hosts_line(self, kind: str = "ed25519", address: str | None = None) -> str:
        return f"[{address or self.address}]:{self.port} {self.host_key(kind)}\n"

    def program(self, name: str, text: str) -> Path:
        """Put an executable stand-in first on the PATH of the sessions."""
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def inside(self, command: str, stdin: str = "") -> str:
        """Run a shell line where the sessions run: an overlay may not be changed from beneath."""
        assert self._process is not None
        spaces = [f"--{kind}=/proc/{self._process.pid}/ns/{name}" for kind, name in (("mount", "mnt"), ("net", "net"))]
        enter = ["nsenter", *spaces, "sh", "-ec", command]
        return subprocess.run(enter, input=stdin, check=True, stdout=subprocess.PIPE, text=True).stdout

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def clear_log(self) -> None:
        self.log_file.write_text("")

    def connections(self) -> int:
        """How often anybody dialled, counted by sshd."""
        return len(re.findall(r"^Connection from ", self.log(), re.MULTILINE))

    def log_ins(self) -> int:
        return len(re.findall(r"^Accepted publickey", self.log(), re.MULTILINE))

    def log_in_attempts(self) -> int:
        """How often a key was offered or a user named, successful or not."""
        return len(
            re.findall(r"^(Accepted|Failed|Postponed|Connection (closed|reset) by authenticating)", self.log(), re.M)
        )

    def sessions(self) -> int:
        """How many commands were started."""
        return len(re.findall(r"^Starting session: command", self.log(), re.MULTILINE))
