"""Kubernetes' own Debian packages, built from the Go programs with upstream's names, versions and file layout."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.mirror import archive
from lab.mirror.cache import PARTS, digest, part, run, tree_digest

RECIPE = 1
SOURCES = Path(__file__).resolve().parent / "kubernetes-packages"
# The package revision pkgs.k8s.io gives to a first build.
REVISION = "1.1"
MINOR = "1.34"


@dataclass(frozen=True)
class Package:
    """One package: the build its programs come from and where files go on a node.

    `programs` are names in the build's folder, "*" for all of them; `files` maps names in kubernetes-packages/NAME to
    places on the node; `empty` are folders that hold nothing at first.
    """

    name: str
    version: str
    build: str
    programs: tuple[str, ...]
    folder: str
    summary: str
    depends: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    conffiles: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    revision: str = REVISION

    @property
    def full_version(self) -> str:
        return f"{self.version}-{self.revision}"

    def hash_of(self, build_hash: str) -> str:
        """What the package is made from, given the content hash of its Go build."""
        source = SOURCES / self.name
        return digest(RECIPE, self, build_hash, tree_digest(source) if source.is_dir() else "")

    def part_of(self, build_hash: str) -> Path:
        """The folder its .deb is, or will be, in."""
        return PARTS / f"deb-{self.name}-{self.full_version}-{self.hash_of(build_hash)}"

    def control(self, installed_kib: int) -> str:
        lines = {
            "Package": self.name,
            "Version": self.full_version,
            "Architecture": "amd64",
            "Maintainer": "Kubernetes Authors <dev@kubernetes.io>",
            "Installed-Size": str(installed_kib),
            "Depends": self.depends,
            "Section": "net",
            "Priority": "optional",
            "Homepage": "https://kubernetes.io",
            "Description": f"{self.summary}\n Built from the Go modules for a lab's mirror; not upstream's own package.",
        }
        return "".join(f"{key}: {value}\n" for key, value in lines.items() if value)


def kubectl(version: str, build: str) -> Package:
    return Package("kubectl", version, build, ("kubectl",), "/usr/bin", "Kubernetes command line")


def packages(version: str, build: str) -> tuple[Package, ...]:
    """The three packages of one Kubernetes release."""
    return (
        kubectl(version, build),
        Package("kubeadm", version, build, ("kubeadm",), "/usr/bin", "Administration of a Kubernetes cluster",
                files={"10-kubeadm.conf": "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"}),
        Package("kubelet", version, build, ("kubelet",), "/usr/bin", "Node agent for Kubernetes clusters",
                depends="kubernetes-cni (>= 1.2.0), mount, util-linux",
                files={"kubelet.service": "/usr/lib/systemd/system/kubelet.service", "default": "/etc/default/kubelet"},
                conffiles=("/etc/default/kubelet",),
                keep=("/var/lib/kubelet/.kubelet-keep", "/etc/kubernetes/manifests/.kubelet-keep")),
    )  # fmt: skip


PACKAGES = (
    *packages("1.34.2", "kubernetes"),
    # An older packaging of the same program, so that a test can put a node's package to another version by hand.
    replace(kubectl("1.34.2", "kubernetes"), revision="1.0"),
    Package("kubernetes-cni", "1.7.1", "cni-plugins", ("*",), "/opt/cni/bin", "Container network plugins"),
)  # fmt: skip


def layout(package: Package, programs: Path, root: Path) -> None:
    """Lay the package's files out under `root` as they will stand on a node, with its control folder."""
    names = [path.name for path in programs.iterdir()] if package.programs == ("*",) else package.programs
    (root / package.folder[1:]).mkdir(parents=True)
    for name in sorted(names):
        shutil.copy(programs / name, root / package.folder[1:] / name)
    source = SOURCES / package.name
    for name, place in package.files.items():
        target = root / place[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target)
        target.chmod(0o600 if target.suffix == ".service" else 0o644)
    for place in package.keep:
        (root / place[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / place[1:]).touch()
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) // 1024
    control = root / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(package.control(size))
    if package.conffiles:
        (control / "conffiles").write_text("".join(f"{place}\n" for place in package.conffiles))
    for script in ("postinst", "prerm", "postrm"):
        if (source / script).exists():
            shutil.copy(source / script, control / script)
            (control / script).chmod(0o755)


def build(package: Package, programs: Path, build_hash: str) -> Path:
    """The .deb of one package, from the folder its programs were built into."""
    name = f"{package.name}_{package.full_version}_amd64.deb"

    def make(folder: Path) -> None:
        root = folder / "root"
        root.mkdir(mode=0o755)
        layout(package, programs, root)
        # Fast to pack and to unpack: every node unpacks it, and it is stored once.
        run("dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", root, folder / name)
        shutil.rmtree(root)

    return part(f"deb-{package.name}-{package.full_version}", package.hash_of(build_hash), make) / name


def repository(debs: Sequence[Path]) -> Path:
    """A flat signed repository of those packages, laid out as pkgs.k8s.io has it."""

    def make(folder: Path) -> None:
        (folder / "amd64").mkdir()
        for deb in debs:
            os.link(deb, folder / "amd64" / deb.name)
        archive.index(folder, "amd64", folder)
        archive.sign(folder, Origin="qwenvl mirror", Label="Kubernetes", Suite="stable", Architectures="amd64")
        # The same folder under upstream's path, for whoever only swaps the host in the address.
        upstream = folder / "core:/stable:" / f"v{MINOR}"
        upstream.mkdir(parents=True)
        (upstream / "deb").symlink_to("../../..")

    hash_ = digest(RECIPE, archive.RECIPE, archive.key_fingerprint(), [str(deb) for deb in debs])
    return part("kubernetes", hash_, make)
