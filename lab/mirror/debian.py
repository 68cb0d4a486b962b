"""The Debian side of the mirror: which packages, resolved by apt itself, in a signed repository."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from lab.mirror import archive
from lab.mirror.cache import PARTS, MirrorError, digest, part, run, say

RECIPE = 2
ARCHIVE = os.environ.get("QWENVL_DEBIAN", "http://deb.debian.org")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
EPOCH = re.compile(r"_\d+%3a")


@dataclass(frozen=True)
class Selection:
    """What debian.toml asks for."""

    release: str
    suites: tuple[str, ...]
    architecture: str
    groups: dict[str, tuple[str, ...]]
    all_versions: tuple[str, ...]


def selection(path: Path) -> Selection:
    """Read debian.toml. Raises MirrorError naming the file and the rule that is broken."""
    table = tomllib.loads(path.read_text())
    groups = {name: tuple(packages) for name, packages in table["groups"].items()}
    named = {package for packages in groups.values() for package in packages}
    extra = tuple(table.get("all-versions", {}).get("packages", ()))
    for package in sorted(named | set(extra)):
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
            raise MirrorError(f"{path}: {package!r}; a Debian package name has lower-case letters, digits and +.-")
    if unnamed := sorted(set(extra) - named):
        raise MirrorError(f"{path}: all-versions: {unnamed[0]} is in no group. Add it to one")
    return Selection(table["release"], tuple(table["suites"]), table["architecture"], groups, extra)


def pool_name(downloaded: str) -> str:
    """The name a file has in a Debian pool: apt's download names carry the epoch, the pool's do not."""
    return EPOCH.sub("_", downloaded)


def required(available: str) -> list[str]:
    """The packages every Debian system has, from the text of `apt-cache dumpavail`."""
    names = []
    for stanza in available.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Priority") == "required" or fields.get("Essential") == "yes":
            names.append(fields["Package"])
    return sorted(set(names))


def sources(wanted: Selection) -> str:
    """The lines of sources.list for the suites; security updates live under another path."""
    lines = []
    for suite in wanted.suites:
        path = "debian-security" if suite.endswith("-security") else "debian"
        lines.append(f"deb [arch={wanted.architecture} signed-by={KEYRING}] {ARCHIVE}/{path} {suite} main\n")
    return "".join(lines)


class Apt:
    """apt with a root of its own: it believes that nothing is installed, so it fetches every dependency."""

    def __init__(self, folder: Path, wanted: Selection) -> None:
        for inside in ("state/lists/partial", "cache/archives/partial", "empty"):
            (folder / inside).mkdir(parents=True)
        (folder / "sources.list").write_text(sources(wanted))
        (folder / "status").touch()
        self.archives = folder / "cache/archives"
        settings = {
            "Dir::State": folder / "state",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
            # Some machines switch these two caches off, which makes each call read every list again.
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": folder / "empty",
            "Dir::Etc::preferences": folder / "none",
            "Dir::Etc::preferencesparts": folder / "empty",
            "APT::Architecture": wanted.architecture,
            "APT::Architectures": wanted.architecture,
            "APT::Install-Recommends": "false",
            "APT::Keep-Downloaded-Packages": "true",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def __call__(self, program: str, *words: str) -> str:
        return run(program, *self._options, *words, env={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"})


def download(wanted: Selection, pool: Path) -> None:
    """Fetch the selection with all dependencies into `pool`; apt checks signatures and hashes."""
    pool.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=PARTS, prefix=".apt-") as scratch:
        apt = Apt(Path(scratch), wanted)
        say(f"debian: reading the package lists of {ARCHIVE}")
        apt("apt-get", "update", "-q")
        groups = {"required": tuple(required(apt("apt-cache", "dumpavail"))), **wanted.groups}
        for name, packages in groups.items():
            apt("apt-get", "install", "-qq", "--yes", "--download-only", *packages)
            say(f"debian: {name}: {', '.join(packages[:6])}{' ...' if len(packages) > 6 else ''}")
        for package in wanted.all_versions:
            for line in apt("apt-cache", "madison", package).splitlines():
                version = line.split("|")[1].strip()
                apt("apt-get", "install", "-qq", "--yes", "--download-only", f"{package}={version}")
        for path in sorted(apt.archives.glob("*.deb")):
            path.rename(pool / pool_name(path.name))


def folder(file: Path) -> Path:
    """Where the repository for `file` is, or will be."""
    return PARTS / f"debian-{_hash(selection(file))}"


def identity(repository: Path) -> str:
    """What a repository holds, in one word: it changes with a refresh that brought another version."""
    listing = repository / "packages.txt"
    return digest(repository.name, listing.read_text() if listing.exists() else "")


def _hash(wanted: Selection) -> str:
    return digest(RECIPE, archive.RECIPE, archive.key_fingerprint(), ARCHIVE, wanted)


def repository(file: Path, refresh: bool) -> Path:
    """The folder with the packages that `file` asks for, as a signed repository: `pool/`, `dists/`, `packages.txt`.

    Resolved once and then kept, whatever Debian publishes later: a mirror changes when its keeper says so, with
    `refresh`, and never by itself.
    """
    wanted = selection(file)
    if refresh:
        shutil.rmtree(folder(file), ignore_errors=True)

    def make(target: Path) -> None:
        download(wanted, target / "pool/main")
        dists = target / "dists" / wanted.release
        archive.index(target, "pool/main", dists / f"main/binary-{wanted.architecture}")
        archive.sign(dists, Origin="qwenvl mirror", Label="Debian", Suite=wanted.release, Codename=wanted.release,
                     Architectures=wanted.architecture, Components="main")  # fmt: skip
        archive.export_key(target / "qwenvl-lab.gpg", target / "qwenvl-lab.asc")
        names = sorted(path.name for path in (target / "pool/main").iterdir())
        (target / "packages.txt").write_text("\n".join(names) + "\n")

    return part("debian", _hash(wanted), make)
