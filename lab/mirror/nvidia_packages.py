"""Stand-ins for NVIDIA's Debian packages: same names, versions and behaviour towards a script, nothing of NVIDIA's in them.

What they show is what the real ones show: a module built for one kernel, a module and libraries that must be of one version,
a kernel that refuses it, a module in use. /etc/nvidia-stand-in/ on a node holds the switches (nvidia-packages/dkms, module).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.mirror import archive
from lab.mirror.cache import digest, part, run, tree_digest

RECIPE = 1
SOURCES = Path(__file__).resolve().parent / "nvidia-packages"
# What a stack installs, what a node may have been left with, and what an upgrade at night would bring.
DRIVERS = ("570.124.06", "580.95.05", "580.105.08")
TOOLKIT = "1.18.0"


@dataclass(frozen=True)
class Package:
    """`files` maps places on the node to files of nvidia-packages/, `texts` to their content, `links` to their targets."""

    name: str
    version: str
    depends: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    conflicts: str = ""

    def control(self) -> str:
        lines = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": "amd64",
            "Maintainer": "qwenvl lab <lab@example.com>",
            "Depends": self.depends,
            "Conflicts": self.conflicts,
            "Section": "misc",
            "Priority": "optional",
            "Description": f"stand-in for {self.name}\n A lab's stand-in, not NVIDIA's or Debian's package.",
        }
        return "".join(f"{key}: {value}\n" for key, value in lines.items() if value)


def driver(version: str) -> tuple[Package, ...]:
    """The packages of one driver release."""
    full, share = f"{version}-1", "/usr/share/nvidia-stand-in"
    kernel = {"open": "nvidia-kernel-open-dkms", "proprietary": "nvidia-kernel-dkms"}
    modules = [
        Package(
            name,
            full,
            depends="dkms, kmod",
            conflicts=", ".join(set(kernel.values()) - {name}),
            files={
                "/etc/modprobe.d/nvidia-stand-in.conf": "nvidia-stand-in.conf",
                "/usr/lib/nvidia-stand-in/module": "module",
                "/usr/lib/systemd/system/nvidia-stand-in.service": "nvidia-stand-in.service",
            },
            texts={f"/usr/src/nvidia-{version}/kind": f"{kind}\n", f"{share}/module": f"{version} {kind}\n"},
            links={
                "/usr/lib/systemd/system/multi-user.target.wants/nvidia-stand-in.service": "../nvidia-stand-in.service"
            },
            scripts=("postinst", "prerm"),
        )
        for kind, name in kernel.items()
    ]
    return (
        *modules,
        Package("libcuda1", full, depends=f"libnvidia-ml1 (= {full})"),
        Package("libnvidia-ml1", full, texts={f"{share}/library": f"{version}\n"}),
        Package(
            "nvidia-driver-cuda",
            full,
            depends=f"libcuda1 (= {full}), libnvidia-ml1 (= {full})",
            files={"/usr/bin/nvidia-smi": "nvidia-smi"},
        ),
    )


def packages(kernel: str) -> tuple[Package, ...]:
    """All stand-ins; the headers are those of the one kernel that all nodes share."""
    headers = f"linux-headers-{kernel}"
    return (
        *(package for version in DRIVERS for package in driver(version)),
        Package("dkms", "3.0.10-0lab1", files={"/usr/sbin/dkms": "dkms"}),
        Package(headers, "1", texts={f"/usr/src/{headers}/kernel": f"{kernel}\n"}),
        Package(
            "nvidia-container-toolkit-base",
            f"{TOOLKIT}-1",
            files={"/usr/bin/nvidia-container-runtime": "nvidia-container-runtime"},
        ),
    )


def layout(package: Package, root: Path) -> None:
    """Lay the package out under `root` as it will stand on a node, with its control folder."""
    upstream = package.version.rpartition("-")[0]

    def put(target: Path, text: str, mode: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    for place, name in package.files.items():
        put(root / place[1:], (SOURCES / name).read_text(), 0o644 if "." in name else 0o755)
    for place, text in package.texts.items():
        put(root / place[1:], text, 0o644)
    for place, target in package.links.items():
        (root / place[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / place[1:]).symlink_to(target)
    put(root / "DEBIAN/control", package.control(), 0o644)
    for script in package.scripts:
        put(root / "DEBIAN" / script, (SOURCES / script).read_text().replace("@VERSION@", upstream), 0o755)


def repository_hash() -> str:
    kernel = platform.release()
    return digest(RECIPE, archive.RECIPE, archive.key_fingerprint(), packages(kernel), tree_digest(SOURCES))


def repository() -> Path:
    """A flat signed repository of the stand-ins."""

    def make(folder: Path) -> None:
        debs = folder / "amd64"
        debs.mkdir()
        for package in packages(platform.release()):
            root = folder / "root" / f"{package.name}-{package.version}"
            root.mkdir(parents=True)
            root.chmod(0o755)
            layout(package, root)
            run(
                *("dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", root),
                debs / f"{package.name}_{package.version}_amd64.deb",
            )
        run("rm", "-rf", folder / "root")
        archive.index(folder, "amd64", folder)
        archive.sign(folder, Origin="qwenvl mirror", Label="NVIDIA stand-ins", Suite="stable", Architectures="amd64")

    return part("nvidia", repository_hash(), make)
