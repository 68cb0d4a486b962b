"""A farm of simulated hosts: one OpenSSH server on 127.0.0.0/8, a folder tree of its own for every address.

    with Farm(100) as farm: ...
    with Farm(100, rtt_ms=20) as farm: ...      every host 20 ms away (see link.py)
    python -m bench.farm 5                      start one, print how to reach it, stop with Ctrl-C

Every 127.x.y.z address is one host: what a session writes to /etc, /var, /run, /root and /tmp stays with the address it dialled
(private mounts, see node/enter.sh). dpkg is the real one with a small database per host; systemctl is a stand-in
(node/bin). The server listens on a port of its own, takes one key of its own and only from 127.0.0.0/8, and ends with
the process that started it. Needs root (mounts).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench import openssh
from bench.measure import descendants

NODE = Path(__file__).resolve().parent / "node"
PACKAGE, VERSION = "qwenvl-bench", "1.0-1"
UNIT = "qwenvl-bench.service"

# What programs on a host read from /etc; everything else there is absent, as on no real host, and needed by no tool.
ETC = ("group", "nsswitch.conf", "ld.so.cache", "ld.so.conf", "os-release", "debian_version", "localtime", "profile")
FOLDERS = (
    "etc/systemd/system",
    "etc/apt/apt.conf.d",
    "etc/apt/sources.list.d",
    "var/lib/dpkg/info",
    "var/lib/dpkg/updates",
    "var/lib/dpkg/triggers",
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
    "var/log/apt",
    "var/tmp",
    "run/lock",
    "tmp",
    "root",
)
CONFIG = """\
Port {port}
ListenAddress 0.0.0.0
HostKey /mnt/host_key
PidFile none
AuthorizedKeysFile /mnt/id_ed25519.pub
AllowUsers root@127.0.0.0/8
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
X11Forwarding no
MaxStartups 2000
MaxSessions 200
LoginGraceTime 120
LogLevel VERBOSE
SetEnv PATH=/mnt/node/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin{environment}
Subsystem sftp /mnt/sftp-server
ForceCommand /mnt/node/enter.sh
"""
STATUS = """\
Package: {name}
Status: install ok installed
Priority: optional
Section: misc
Maintainer: bench
Architecture: {architecture}
Version: {version}
Description: entry of the farm's package database

"""


@dataclass(frozen=True)
class Host:
    """One simulated host. `root` is where its /etc, /var, ... lie on this machine."""

    name: str
    address: str
    root: Path


@dataclass(frozen=True)
class Counters:
    """What the server did so far: connections accepted, commands started, CPU seconds of it and all it started."""

    connections: int
    commands: int
    cpu_seconds: float

    def __sub__(self, other: Counters) -> Counters:
        return Counters(
            self.connections - other.connections,
            self.commands - other.commands,
            self.cpu_seconds - other.cpu_seconds,
        )


def address(index: int) -> str:
    """The address of host number `index`; 250 to a network, from 127.10.0.1 on."""
    return f"127.10.{index // 250}.{index % 250 + 1}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))  # noqa: S104 -- the address the server will use
        return int(probe.getsockname()[1])


class Farm:
    """Start with `with`; `reset()` makes every host bare again."""

    def __init__(self, count: int, rtt_ms: float = 0) -> None:
        if os.geteuid() != 0:
            raise SystemExit("bench: the farm gives each host its own mounts, which needs root. Run it as root.")
        openssh.CACHE.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f"farm-{os.getpid()}-", dir=openssh.CACHE))
        self.folder.chmod(0o755)
        self.private_key = self.folder / "id_ed25519"
        self.known_hosts = self.folder / "known_hosts"
        self.rtt_ms = rtt_ms
        self._sshd_port = free_port()
        self.port = free_port() if rtt_ms else self._sshd_port
        self.hosts = [Host(f"host-{i + 1:04d}", address(i), self.folder / "hosts" / address(i)) for i in range(count)]
        self._server: subprocess.Popen[bytes] | None = None
        self._link: subprocess.Popen[bytes] | None = None

    @staticmethod
    def _sweep() -> None:
        """Remove what farms left whose process was killed."""
        for folder in openssh.CACHE.glob("farm-*-*"):
            owner = folder.name.split("-")[1]
            if owner.isdigit() and not Path("/proc", owner).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Farm:
        try:
            self._prepare()
            self.reset()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        server = openssh.find()
        for key in (self.private_key, self.folder / "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(key)], check=True)
        public = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        self.known_hosts.write_text("".join(f"[{host.address}]:{self.port} {public}\n" for host in self.hosts))
        # Copies, so that a session sees them under /mnt wherever the checkout and the packages lie.
        shutil.copytree(NODE, self.folder / "node")
        shutil.copy(server.sftp, self.folder / "sftp-server")
        shutil.copytree("/etc/alternatives", self.folder / "alternatives", symlinks=True)
        # A plain shell for root: bash would read the machine's own ~/.bashrc before every command.
        users = re.sub(r"(?m)^(root:.*:)[^:]*$", r"\1/bin/sh", Path("/etc/passwd").read_text()).rstrip("\n").split("\n")
        if not any(line.startswith("sshd:") for line in users):
            users.append("sshd:x:105:65534::/run/sshd:/usr/sbin/nologin")
        (self.folder / "passwd").write_text("\n".join(users) + "\n")
        (self.folder / "shadow").write_text("root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n")
        environment = ""
        if server.python_path:
            shutil.copytree(server.python_path, self.folder / "python")
            environment = " PYTHONPATH=/mnt/python"
        self._sshd = server.sshd
        (self.folder / "sshd_config").write_text(CONFIG.format(port=self._sshd_port, environment=environment))

    def reset(self) -> None:
        """Make every host bare: the package is installed, the unit is there and stopped, no file of ours."""
        architecture = subprocess.run(
            ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
        ).stdout.strip()
        status = "".join(
            STATUS.format(name=name, version=version, architecture=architecture)
            for name, version in (("base-files", "12.4"), ("openssh-server", "1:9.2p1-2"), (PACKAGE, VERSION))
        )
        for host in self.hosts:
            shutil.rmtree(host.root, ignore_errors=True)
            for folder in FOLDERS:
                (host.root / folder).mkdir(parents=True)
            (host.root / "var/lock").symlink_to("/run/lock")
            for name in ETC:
                if Path("/etc", name).exists():
                    shutil.copy(Path("/etc", name), host.root / "etc" / name)
            shutil.copy(self.folder / "passwd", host.root / "etc/passwd")
            (host.root / "etc/alternatives").symlink_to("/mnt/alternatives")
            (host.root / "etc/hostname").write_text(host.name + "\n")
            (host.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{host.address} {host.name}\n")
            (host.root / "etc/systemd/system" / UNIT).write_text("[Service]\nExecStart=/bin/sleep infinity\n")
            (host.root / "var/lib/dpkg/status").write_text(status)
            for name in ("available", "info/format"):
                (host.root / "var/lib/dpkg" / name).write_text("1\n" if name == "info/format" else "")
            for name, _ in (("base-files", ""), ("openssh-server", ""), (PACKAGE, "")):
                (host.root / "var/lib/dpkg/info" / f"{name}.list").touch()
            (host.root / "fstab").write_text(
                "".join(
                    f"/mnt/hosts/{host.address}/{name} /{name} none bind 0 0\n"
                    for name in ("etc", "var", "run", "root", "tmp")
                )
            )

    def _start(self) -> None:
        self._server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private",
             str(self.folder / "node/start.sh"), str(self.folder), str(self._sshd), "/mnt/sshd_config"],
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        if self.rtt_ms:
            arguments = [str(self.port), str(self._sshd_port), str(self.rtt_ms)]
            self._link = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "bench.link", *arguments],
                cwd=NODE.parent.parent, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._server.poll() is not None:
                break
            try:
                with socket.create_connection((self.hosts[0].address, self.port), timeout=1) as banner:
                    if banner.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"bench: the farm's sshd did not start; its log: {self._log()[-2000:]!r}")

    def stop(self) -> None:
        """End the server with its sessions and remove the folder."""
        if self._link is not None:
            self._link.terminate()
            self._link.wait()
            self._link = None
        if self._server is not None:
            for pid in self._tree():
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    continue
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tree(self) -> list[int]:
        """The server's process and everything below it, sessions first."""
        assert self._server is not None  # noqa: S101 -- only called while it runs
        return [*descendants(self._server.pid), self._server.pid]

    def _log(self) -> str:
        try:
            return (self.folder / "sshd.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def counters(self) -> Counters:
        """Totals since the start, once the sessions that are closing have closed (their CPU counts when they end)."""
        assert self._server is not None  # noqa: S101 -- only called while it runs
        deadline = time.monotonic() + 5
        while descendants(self._server.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        log = self._log()
        fields = Path(f"/proc/{self._server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = sum(int(fields[i]) for i in (11, 12, 13, 14))
        return Counters(
            len(re.findall(r"^Accepted publickey", log, re.M)),
            len(re.findall(r"^Starting session: ", log, re.M)),
            ticks / os.sysconf("SC_CLK_TCK"),
        )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with Farm(count) as farm:
        print(f"{count} hosts from {farm.hosts[0].address} to {farm.hosts[-1].address}, port {farm.port}; for example:")
        print(
            f"  ssh -i {farm.private_key} -o UserKnownHostsFile={farm.known_hosts} -p {farm.port} "
            f"root@{farm.hosts[0].address}"
        )
        print("Ctrl-C stops it.", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
