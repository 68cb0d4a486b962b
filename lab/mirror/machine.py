"""The Debian packages this machine needs to fill and serve the mirror."""

from __future__ import annotations

import os
import shutil

from lab.mirror.cache import MirrorError, run, say

# program that shows the package is there -> Debian package
REQUIRED = {
    "apt-ftparchive": "apt-utils",
    "buildah": "buildah",
    "docker-registry": "docker-registry",
    "dpkg-deb": "dpkg",
    "gcc": "gcc",
    "gpg": "gnupg",
    "mmdebstrap": "mmdebstrap",
    "pip3": "python3-pip",
}


def install_required() -> None:
    """Install what is missing. Raises MirrorError where that needs another user or another system, or Go is missing."""
    if shutil.which("go") is None:
        # Debian's own is too old for these modules, so it is not installed from there.
        raise MirrorError(
            "go: not installed; Kubernetes and its images are built from Go modules. Install Go 1.26 or newer"
        )
    missing = sorted({package for program, package in REQUIRED.items() if shutil.which(program) is None})
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MirrorError(f"{', '.join(missing)} missing. Install them, or run as root on Debian or Ubuntu")
    say(f"installing {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-q", env=quiet)
    run("apt-get", "install", "-q", "--yes", "--no-install-recommends", *missing, env=quiet)
    if "docker-registry" in missing:
        # Debian's package starts a registry of its own, open to everyone, on the port the mirror uses.
        for command in (("systemctl", "disable", "--now", "docker-registry"), ("service", "docker-registry", "stop")):
            if shutil.which(command[0]):
                try:
                    run(*command)
                except MirrorError as error:
                    say(f"docker-registry's own service: {error}")
