"""Signed apt repositories: what `apt-get update` on a node reads and checks."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.mirror.cache import CACHE, run

RECIPE = 1
KEY_OWNER = "qwenvl lab mirror"
HOME = CACHE / "mirror-key"


@contextmanager
def signing_home() -> Iterator[dict[str, str]]:
    """GnuPG's folder with the mirror's own key, made the first time; its agent ends with the block.

    The key stays when the mirror changes, so that nodes made earlier still trust it. It never leaves this folder.
    """
    HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
    home = {"GNUPGHOME": str(HOME)}
    try:
        if KEY_OWNER not in run("gpg", "--batch", "--list-secret-keys", env=home):
            run(
                *("gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback"),
                *("--quick-generate-key", KEY_OWNER, "ed25519", "sign", "never"),
                env=home,
            )
        yield home
    finally:
        run("gpgconf", "--kill", "all", env=home)


def key_fingerprint() -> str:
    with signing_home() as home:
        for line in run("gpg", "--batch", "--with-colons", "--list-keys", KEY_OWNER, env=home).splitlines():
            if line.startswith("fpr:"):
                return line.split(":")[9]
    raise AssertionError("gpg lists a key without a fingerprint")


def export_key(binary: Path, armoured: Path) -> None:
    """Write the public key in both forms that apt's signed-by takes."""
    with signing_home() as home:
        run("gpg", "--batch", "--yes", "--output", binary, "--export", KEY_OWNER, env=home)
        run("gpg", "--batch", "--yes", "--armor", "--output", armoured, "--export", KEY_OWNER, env=home)


def index(root: Path, pool: str, into: Path) -> None:
    """Write the list of the packages below `root/pool`, plain and compressed; file names are relative to `root`."""
    into.mkdir(parents=True, exist_ok=True)
    listed = run("apt-ftparchive", "packages", pool, cwd=root).encode()
    (into / "Packages").write_bytes(listed)
    (into / "Packages.gz").write_bytes(gzip.compress(listed, mtime=0))


def sign(folder: Path, **fields: str) -> None:
    """Write Release with the hashes of the lists below `folder`, and its two signed forms."""
    options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
    release = run("apt-ftparchive", *options, "release", ".", cwd=folder)
    (folder / "Release").write_text(release)
    with signing_home() as home:
        gpg = ("gpg", "--batch", "--yes", "--local-user", KEY_OWNER)
        run(*gpg, "--clearsign", "--output", folder / "InRelease", folder / "Release", env=home)
        run(*gpg, "--armor", "--detach-sign", "--output", folder / "Release.gpg", folder / "Release", env=home)
