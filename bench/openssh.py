"""Find the OpenSSH server and what Ansible's apt module needs on a host."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("QWENVL_CACHE", Path.home() / ".cache" / "qwenvl"))
PACKAGES = ("python3-apt",)


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
    """The machine's own server; apt's bindings for the system's Python are unpacked beside the other caches where it has none.

    Raises SystemExit with the remedy when either is missing.
    """
    sshd, sftp = Path("/usr/sbin/sshd"), Path("/usr/lib/openssh/sftp-server")
    if not (sshd.exists() and sftp.exists()):
        raise SystemExit("bench: no OpenSSH server found. Run tools/test-packages, as `make bench` does.")
    if not subprocess.run(["/usr/bin/python3", "-c", "import apt"], capture_output=True).returncode:
        return Server(sshd, sftp, "")
    try:
        root = unpacked(PACKAGES)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"bench: {', '.join(PACKAGES)} cannot be had ({error}). Install it.") from error
    return Server(sshd, sftp, str(root / "usr/lib/python3/dist-packages"))
