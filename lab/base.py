"""The root filesystem all nodes share, named after what goes into it."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.machine import HERE, LabError, Progress, stream

SCRIPT = HERE / "build-base.sh"
DEFAULT_ARCHIVE = "http://deb.debian.org/debian"

# A Debian server after its installer. No Python, no curl, no nftables: what the product needs, it installs.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "iproute2", "iputils-ping", "procps", "kmod",
    "ca-certificates", "less", "nano",
)  # fmt: skip


@dataclass(frozen=True)
class Base:
    """One built base: its folder and the identity it got when it was built."""

    path: Path
    identity: str


def digest() -> str:
    """Twelve hexadecimal digits of what the base is made from: the script and the packages."""
    content = hashlib.sha256(SCRIPT.read_bytes())
    content.update(",".join(PACKAGES).encode())
    return content.hexdigest()[:12]


def read(path: Path) -> Base | None:
    """The base in that folder, or None when it is missing or was never finished."""
    try:
        identity = (path / "etc/lab-base").read_text().strip()
    except OSError:
        return None
    return Base(path, identity) if (path / "sbin/init").exists() and identity else None


def ensure(folder: Path, progress: Progress) -> Base:
    """The current base, built when it is not there (about a minute and a half on two busy cores).

    The archive it is built from is QWENVL_LAB_DEBIAN, or Debian's own.
    """
    path = folder / digest()
    if found := read(path):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if found := read(path):
            return found
        progress(f"building the base root filesystem {path.name} with debootstrap")
        archive = os.environ.get("QWENVL_LAB_DEBIAN", DEFAULT_ARCHIVE)
        stream([SCRIPT, path, ",".join(PACKAGES), archive], "base", progress, timeout=1800)
    if found := read(path):
        progress("base root filesystem built")
        return found
    raise LabError(f"{path}: not a root filesystem after {SCRIPT.name}; remove the folder and run `lab/lab up` again")


def prune(folder: Path, used: Iterable[str], everything: bool = False) -> list[str]:
    """Remove bases that no node uses (`everything`: even the current one); returns their names."""
    keep = {*used} if everything else {digest(), *used}
    gone = [path for path in folder.glob("*") if path.is_dir() and path.name.removesuffix(".partial") not in keep]
    for path in gone:
        shutil.rmtree(path)
    if everything and {path.name for path in folder.glob("*")} == {"lock"}:
        shutil.rmtree(folder)
    return [path.name for path in gone]
