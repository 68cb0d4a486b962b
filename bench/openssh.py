"""Find an OpenSSH server and what Ansible's apt module needs on a host, without installing anything on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("QWENVL_CACHE", Path.home() / ".cache" / "qwenvl"))
PACKAGES = ("openssh-server", "openssh-sftp-server", "python3-apt")


@dataclass(frozen=True)
class Server:
    """Programs of the server side. `python_path` is "" when the system's Python has apt's bindings already."""

    sshd: Path
    sftp: Path
    python_path: str


def unpacked(packages: tuple[str, ...]) -> Path:
    """Unpack Debian packages into the cache (nothing is installed, no maintainer script runs) and return the folder."""
    folder = CACHE / "farm-programs"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subprocess.run(["apt-get", "-q", "download", *packages], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package.name, "root"], cwd=folder, check=True)
        (folder / ".complete").touch()
    return folder / "root"


def find() -> Server:
    """The machine's own server where it has one; else Debian's packages, unpacked beside the other caches.

    Raises SystemExit with the remedy when there is neither.
    """
    sshd, sftp = Path("/usr/sbin/sshd"), Path("/usr/lib/openssh/sftp-server")
    bindings = subprocess.run(["/usr/bin/python3", "-c", "import apt"], capture_output=True).returncode == 0
    if sshd.exists() and sftp.exists() and bindings:
        return Server(sshd, sftp, "")
    try:
        root = unpacked(PACKAGES)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"bench: no OpenSSH server found and Debian's packages cannot be had ({error}). "
            f"Install {', '.join(PACKAGES)}."
        ) from error
    return Server(
        sshd if sshd.exists() else root / "usr/sbin/sshd",
        sftp if sftp.exists() else root / "usr/lib/openssh/sftp-server",
        "" if bindings else str(root / "usr/lib/python3/dist-packages"),
    )
