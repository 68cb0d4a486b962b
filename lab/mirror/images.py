"""The mirror's images: each built by buildah from its Dockerfile, kept as an OCI layout under the hash of its sources."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from lab.mirror.cache import CACHE, IGNORED, PARTS, MirrorError, digest, part, run, say, tree_digest

RECIPE = 3
ROOT = Path(__file__).resolve().parents[2]
# Storage of its own: what a user has in buildah's default storage is neither used nor touched.
STORAGE = CACHE / "mirror-buildah"
BLOBS = CACHE / "mirror-blobs"
# Where RUN steps see the mirror's Debian packages.
MOUNT = "/run/mirror-debian"
# pip's settings that depend on the machine: configuration key -> environment variable.
PIP = {
    "cert": "PIP_CERT",
    "index-url": "PIP_INDEX_URL",
    "extra-index-url": "PIP_EXTRA_INDEX_URL",
    "trusted-host": "PIP_TRUSTED_HOST",
    "proxy": "PIP_PROXY",
    "timeout": "PIP_DEFAULT_TIMEOUT",
}


class SourcesChanged(MirrorError):
    """Somebody edited an image's folder during its build: the result is not what its name says."""


@dataclass(frozen=True)
class Image:
    """One table of images.toml."""

    name: str
    repository: str
    tag: str
    folder: str
    base: str = ""
    build: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    stage: bool = False

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


def load(path: Path, product_tags: Mapping[str, str]) -> dict[str, Image]:
    """Read images.toml; a tag that names an image in `product_tags` becomes that image's.

    Raises MirrorError naming the table and the rule that is broken.
    """
    images: dict[str, Image] = {}
    for name, table in tomllib.loads(path.read_text()).items():
        if unknown := sorted(set(table) - set(Image.__dataclass_fields__)):
            raise MirrorError(f"{path.name}: {name}: unknown field {unknown[0]}. Take it out")
        build = {build: tuple(programs) for build, programs in table.pop("build", {}).items()}
        tag, base = table.pop("tag"), table.get("base", "")
        if base and base not in images:
            raise MirrorError(f"{path.name}: {name}: base {base} does not come before it. Move it up")
        files = tuple(table.pop("files", ()))
        images[name] = Image(name, tag=product_tags.get(tag, tag), build=build, files=files, **table)
    return images


class Builder:
    """Builds images and finds them again; `files` makes the files that Dockerfiles copy and no Go build gives."""

    def __init__(
        self,
        packages: Path,
        release: str,
        builds: Callable[[str], Path],
        files: Mapping[str, Callable[[Path], None]],
        hashes: Mapping[str, str],
    ) -> None:
        self._packages = packages
        self._release = release
        self._builds = builds
        self._files = files
        self._hashes = hashes

    def hash_of(self, image: Image, base_hash: str) -> str:
        """What an image is made from: its folder, its base, its programs and its other files."""
        sources = {name: self._hashes[name] for name in (*image.build, *image.files)}
        return digest(RECIPE, image.reference, image.build, tree_digest(ROOT / image.folder), base_hash, sources)

    def layout(self, image: Image, hash_: str, base: tuple[Image, str] | None) -> Path:
        """The folder with the image's OCI layout, built the first time."""

        def make(folder: Path) -> None:
            if base:
                self._load(*base)
            with tempfile.TemporaryDirectory(dir=PARTS, prefix=".context-") as scratch:
                context = self._context(image, Path(scratch))
                name = stored(image)
                buildah("bud", "--isolation", "chroot", "--pull-never", "--layers", "--quiet", *self._lend(Path(scratch)),
                        "--tag", name, "--file", context / "Dockerfile", context)  # fmt: skip
                # zstd: nearly as small as gzip and several times faster to unpack, on every node.
                zstd = ("--format", "oci", "--compression-format", "zstd", "--compression-level", "1")
                buildah("push", "--quiet", *zstd, name, f"oci:{folder}:{image.reference}")
            if self.hash_of(image, base[1] if base else "") != hash_:
                raise SourcesChanged(f"{image.folder}: changed while {image.name} was built from it. Build again")
            share_blobs(folder)
            buildah("tag", name, f"localhost/part/{image.name}:{hash_}")

        return part(f"image-{image.name}", hash_, make)

    def forget_all_but(self, names: Set[str]) -> None:
        """Delete the images of earlier builds, and the layers that only they used, from buildah's storage."""
        for line in buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
            if line.startswith("localhost/part/") and line not in names:
                buildah("rmi", line)
        buildah("rmi", "--prune", "--force")

    def _context(self, image: Image, scratch: Path) -> Path:
        context = scratch / "context"
        shutil.copytree(ROOT / image.folder, context, ignore=shutil.ignore_patterns(*IGNORED))
        for build, programs in image.build.items():
            for program in programs:
                os.link(self._builds(build) / program, context / program)
        for name in image.files:
            self._files[name](context)
        return context

    def _load(self, base: Image, hash_: str) -> None:
        """Have the base image in buildah's storage under its ordinary name, whichever one was there before."""
        ours = f"localhost/part/{base.name}:{hash_}"
        if not buildah("images", "--quiet", "--filter", f"reference={ours}").strip():
            say(f"{base.name}: reading it back from its part")
            pulled = buildah("pull", "--quiet", f"oci:{PARTS}/image-{base.name}-{hash_}:{base.reference}").strip()
            buildah("tag", pulled.splitlines()[-1], ours)
        buildah("tag", ours, stored(base))

    def _lend(self, scratch: Path) -> list[str]:
        """Options that let RUN steps see this machine's package sources without leaving them in the image.

        Debian packages come from the mirror's own pool, Python's from wherever pip fetches them on this machine.
        """
        (scratch / "sources.list").write_text(
            f"deb [signed-by={MOUNT}/qwenvl-lab.gpg] file:{MOUNT} {self._release} main\n"
        )
        lent = {scratch / "sources.list": "/etc/apt/sources.list", self._packages: MOUNT}
        settings = {key: os.environ[name] for key, name in PIP.items() if os.environ.get(name)}
        if certificates := settings.get("cert"):
            lent[Path(certificates)] = settings["cert"] = "/run/pip-certificates.crt"
        if settings:
            lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
            (scratch / "pip.conf").write_text(f"[global]\n{lines}")
            lent[scratch / "pip.conf"] = "/etc/pip.conf"
        return [word for source, target in lent.items() for word in ("--volume", f"{source}:{target}:ro")]


def buildah(*words: str | Path) -> str:
    """Run buildah on the mirror's own storage; short names in FROM mean Docker Hub, as they do for docker."""
    STORAGE.mkdir(parents=True, exist_ok=True)
    registries = STORAGE / "registries.conf"
    registries.write_text('unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n')
    storage = ("--root", STORAGE / "storage", "--runroot", STORAGE / "run")
    return run("buildah", *storage, *words, env={"CONTAINERS_REGISTRIES_CONF": str(registries)})


def share_blobs(layout: Path) -> None:
    """Keep equal layers of several images once: each blob becomes a hard link to the copy in BLOBS."""
    BLOBS.mkdir(parents=True, exist_ok=True)
    for blob in (layout / "blobs/sha256").iterdir():
        shared = BLOBS / blob.name
        if shared.exists():
            blob.unlink()
            os.link(shared, blob)
        else:
            os.link(blob, shared)


def manifest_digest(layout: Path) -> str:
    """The digest (sha256:...) of the image in an OCI layout."""
    found: str = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    return found


def stored(image: Image) -> str:
    """The name by which a Dockerfile's FROM finds the image: short names are Docker Hub's."""
    return (
        "docker.io/"
        + (image.repository if "/" in image.repository else f"library/{image.repository}")
        + f":{image.tag}"
    )
