"""The real unattended-upgrades with our configuration, before a repository of its own that offers updates of everything."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from components.hosts.nvidia_driver import UNATTENDED_UPGRADES as GPU_UPGRADES
from components.hosts.upgrades import upgrades_conf
from components.settings import Upgrades

MINE, HELD = "ordinary-package", "held-package"
NEVER = ("kubelet", "kubeadm", "containerd", "containerd.io", "runc", "cri-tools", "nvidia-driver", "libnvidia-compute")
GPU_NEVER = ("linux-image-cloud", "libcuda1", "dkms")
ALL = (MINE, HELD, *NEVER, *GPU_NEVER)
RELEASE = """\
Origin: {origin}
Label: {label}
Suite: {suite}
Codename: {suite}
Architectures: all
Components: main
Date: Sat, 28 Nov 2026 00:00:00 UTC
SHA256:
 {digest} {size} Packages
"""


def make_package(folder: Path, name: str, version: str) -> Path:
    root = folder / f"{name}-{version}"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.com>\nDescription: test\n"
    )
    target = folder / f"{name}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, target], check=True, stdout=subprocess.DEVNULL)
    return target


class Machine:
    """All packages installed at version 1, one of them held; a repository with version 2 of each."""

    def __init__(self, root: Path) -> None:
        self.root, self.repository = root, root / "repository"
        self.repository.mkdir()
        for name in (
            "dpkg/info",
            "dpkg/updates",
            "dpkg/triggers",
            "dpkg/parts",
            "apt/lists/partial",
            "cache/archives/partial",
        ):
            (root / name).mkdir(parents=True)
        for name in ("dpkg/status", "dpkg/available"):
            (root / name).touch()
        for name in ("log/unattended-upgrades", "etc/upper", "etc/work", "run/upper", "run/work"):
            (root / name).mkdir(parents=True)
        old = root / "old"
        old.mkdir()
        self.installed = [make_package(old, name, "1") for name in ALL]
        packages = ""
        for name in ALL:
            file = make_package(self.repository, name, "2")
            control = subprocess.run(["dpkg-deb", "--field", file], check=True, capture_output=True, text=True).stdout
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            packages += f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n\n"
        (self.repository / "Packages").write_text(packages)

    def offer(self, origin: str, label: str, suite: str) -> None:
        """Whose the repository's updates are."""
        text = (self.repository / "Packages").read_bytes()
        digest = hashlib.sha256(text).hexdigest()
        release = RELEASE.format(origin=origin, label=label, suite=suite, digest=digest, size=len(text))
        (self.repository / "Release").write_text(release)

    def would_upgrade(self, ours: str) -> list[str]:
        """What a night's run would install, by its own dry run."""
        conf = self.root / "ours.conf"
        conf.write_text(ours)
        debs = " ".join(map(str, self.installed))
        steps = f"""
            mount --bind {self.root}/dpkg /var/lib/dpkg
            mount --bind {self.root}/apt /var/lib/apt
            mount --bind {self.root}/cache /var/cache/apt
            mount --bind {self.root}/log /var/log
            mount -t overlay -o lowerdir=/etc,upperdir={self.root}/etc/upper,workdir={self.root}/etc/work overlay /etc
            mount -t overlay -o lowerdir=/run,upperdir={self.root}/run/upper,workdir={self.root}/run/work overlay /run
            rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/preferences.d/*
            cp {conf} /etc/apt/apt.conf.d/60qwen3-vl-upgrades
            echo 'deb [trusted=yes] file:{self.repository} ./' >/etc/apt/sources.list
            echo 'APT::Sandbox::User "root";' >/etc/apt/apt.conf.d/99test
            dpkg -i {debs} >/dev/null
            apt-mark hold {HELD} >/dev/null
            apt-get update -qq
            unattended-upgrade --dry-run --verbose
        """
        done = subprocess.run(["unshare", "--mount", "bash", "-ec", steps], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        said = re.findall(r"^Packages that will be upgraded: (.*)$", done.stdout + done.stderr, re.M)
        return sorted(word for line in said for word in line.split())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if shutil.which("unattended-upgrade") is None:
        raise RuntimeError("unattended-upgrade is missing; tools/test-packages installs it")
    return Machine(tmp_path)


def codename() -> str:
    text = Path("/etc/os-release").read_text()
    (found,) = re.findall(r"^VERSION_CODENAME=(\w+)$", text, re.M)
    return str(found)


def test_security_updates_of_all_but_what_the_cluster_upgrades_itself(machine: Machine) -> None:
    machine.offer("Debian", "Debian-Security", f"{codename()}-security")
    assert machine.would_upgrade(upgrades_conf(Upgrades()) + GPU_UPGRADES) == [MINE]


def test_without_the_gpu_nodes_own_file_a_kernel_is_upgraded(machine: Machine) -> None:
    """The case above would also pass if nothing else could be upgraded."""
    machine.offer("Debian", "Debian-Security", f"{codename()}-security")
    assert machine.would_upgrade(upgrades_conf(Upgrades())) == sorted([MINE, *GPU_NEVER])


def test_other_updates_are_left_alone_unless_their_origin_is_named(machine: Machine) -> None:
    machine.offer("Example", "Example", "stable-security")
    assert machine.would_upgrade(upgrades_conf(Upgrades())) == []
    named = upgrades_conf(Upgrades(origins=("origin=Example,suite=stable-security",)))
    assert MINE in machine.would_upgrade(named)


def test_ordinary_updates_of_the_distribution_are_no_security_updates(machine: Machine) -> None:
    machine.offer("Debian", "Debian", codename())
    assert machine.would_upgrade(upgrades_conf(Upgrades())) == []
