"""A keeper of backups behind a real sshd: the control planes' key hands files in and can do nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from components.hosts.backup_keepers import RECEIVER, authorized_keys
from components.settings.backup import Backup
from host.key_pair_kind import make
from tests.support.scripts import ROOT
from tests.support.ssh_server import SshServer

NAME = "etcd-master-1-20261128T000000Z.cms"


class Keeper:
    """A folder in the place of the home, and the login that `up` puts on control planes."""

    def __init__(self, folder: Path, places: str = "127.0.0.1", home: str = "") -> None:
        folder.mkdir(parents=True)
        pair, public = make("backup-login")
        self.key, self.home = folder / "login.pem", folder / "home"
        self.key.write_text(pair.private_key)
        self.key.chmod(0o600)
        (self.home / "received").mkdir(parents=True)
        (folder / "login.pem.pub").write_text(
            authorized_keys(Backup(keep=3, keep_days=30), public, (IPv4Address(places),))
        )
        mounts = {"/root": home or str(self.home), "/usr/local/lib": f"overlay {folder}/lib"}
        self.server = SshServer(folder / "sshd", self.key, mounts=mounts)
        self.known = folder / "known_hosts"
        self.known.write_text(f"storage-1 {self.server.host_key()}\n")

    def __enter__(self) -> Keeper:
        self.server.start()
        text = (ROOT / "components/hosts/scripts/receive_backup.sh").read_text()
        self.server.inside(
            f"mkdir -p {Path(RECEIVER).parent} /root/received && cat >{RECEIVER} && chmod 755 {RECEIVER}", text
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def ask(self, command: str, content: bytes = b"", *options: str) -> subprocess.CompletedProcess[bytes]:
        """As etcd_backup.sh dials."""
        words = ["ssh", "-F", "none", "-i", str(self.key), "-p", str(self.server.port)]
        for option in ("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", "HostKeyAlias=storage-1"):
            words += ["-o", option]
        words += ["-o", f"UserKnownHostsFile={self.known}", "-o", "GlobalKnownHostsFile=none", *options]
        return subprocess.run([*words, "root@127.0.0.1", command], input=content, capture_output=True, timeout=120)

    def put(self, name: str, content: bytes, digest: str = "") -> subprocess.CompletedProcess[bytes]:
        said = f"put {name} {len(content)} {digest or hashlib.sha256(content).hexdigest()}"
        return self.ask(said, content)

    def received(self) -> list[str]:
        return sorted(path.name for path in (self.home / "received").iterdir() if path.name != ".lock")


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with Keeper(tmp_path / "keeper") as running:
        yield running


def test_a_backup_arrives_whole_and_once(keeper: Keeper) -> None:
    content = os.urandom(3_000_000)
    first = keeper.put(NAME, content)
    assert (first.returncode, first.stdout) == (0, f"took {NAME}\n".encode()), first.stderr
    assert (keeper.home / "received" / NAME).read_bytes() == content
    assert oct((keeper.home / "received" / NAME).stat().st_mode)[-3:] == "600"
    assert keeper.put(NAME, content).stdout == f"has {NAME}\n".encode()
    assert keeper.received() == [NAME]


@pytest.mark.parametrize(
    "command",
    [
        "id",
        "cat /etc/passwd",
        f"get {NAME}",
        f"put ../{NAME} 1 {'0' * 64}",
        f"put {NAME} 1 {'0' * 64}; id",
        f"put {NAME} 1 {'0' * 64}\nid",
        "put etcd-a-20261128T000000Z.cms/../../x 1 " + "0" * 64,
        "",
    ],
)
def test_nothing_else_can_be_asked_for(keeper: Keeper, command: str) -> None:
    done = keeper.ask(command)
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"only backups of etcd are taken here" in done.stderr
    assert keeper.received() == []


def test_no_port_is_forwarded(keeper: Keeper) -> None:
    done = keeper.ask(f"put {NAME} 1 {'0' * 64}", b"", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1")
    assert done.returncode == 255
    assert keeper.received() == []


@pytest.mark.parametrize("kept", [0, 1000])
def test_what_does_not_arrive_whole_is_not_kept(keeper: Keeper, kept: int) -> None:
    content = os.urandom(2000)
    done = keeper.ask(f"put {NAME} 2000 {hashlib.sha256(content).hexdigest()}", content[:kept])
    assert done.returncode == 1
    assert b"arrived damaged or not whole" in done.stderr
    assert keeper.received() == []


def test_each_control_plane_has_room_for_so_many_and_the_old_ones_go(keeper: Keeper) -> None:
    other = "etcd-master-1-b-20200101T000000Z.cms"  # of a node whose name begins alike
    old = "etcd-gone-20260101T000000Z.cms"
    for name in (other, old):
        assert keeper.put(name, b"x").returncode == 0
    month = time.time() - 40 * 86400
    os.utime(keeper.home / "received" / old, (month, month))
    names = [f"etcd-master-1-2026112{number}T000000Z.cms" for number in range(5)]
    for name in names:
        assert keeper.put(name, b"x").returncode == 0
    assert keeper.received() == [*names[2:], other]


def test_other_machines_cannot_use_the_key(tmp_path: Path) -> None:
    with Keeper(tmp_path / "keeper", places="127.0.0.77") as keeper:
        done = keeper.put(NAME, b"x")
        assert done.returncode == 255
        assert b"Permission denied" in done.stderr


def test_a_disk_is_not_filled_up(tmp_path: Path) -> None:
    with Keeper(tmp_path / "keeper", home="tmpfs 4m") as keeper:
        assert keeper.put(NAME, bytes(1_000_000)).returncode == 0
        done = keeper.put("etcd-master-2-20261128T000000Z.cms", bytes(3_000_000))
        assert done.returncode == 1
        assert b"a tenth of the disk stays free; make room" in done.stderr
