"""The whole mirror: what it is made of, its name, and its folder."""

from __future__ import annotations

import functools
import json
import os
import runpy
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lab.mirror import archive, debian, files, kubernetes_packages, registry, service
from lab.mirror.cache import CACHE, PARTS, MirrorError, digest, run, say
from lab.mirror.images import BLOBS, ROOT, Builder, Image, SourcesChanged, load

RECIPE = 1
HERE = Path(__file__).resolve().parent
DEBIAN = HERE / "debian.toml"
IMAGES = HERE / "images.toml"
VERSIONS = ROOT / "components/versions.py"
GO = ROOT / "tools/build"


def product_tags() -> dict[str, str]:
    """The tags of the product's own images, by name: the mirror follows them."""
    return {name: image.tag for name, image in runpy.run_path(str(VERSIONS))["IMAGES"].items()}


@functools.cache
def go_hashes() -> Mapping[str, str]:
    lines = run(GO, "--group", "lab", "--hash").splitlines()
    return dict(line.split("\t") for line in lines)


@functools.cache
def go_builds() -> Mapping[str, Path]:
    """Folder of programs by build, all of them built now if need be (minutes); tools/build says how far it is."""
    done = subprocess.run([GO, "--group", "lab"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise MirrorError(f"tools/build: exit {done.returncode}; the lines above say why. Mend that and build again")
    return {name: Path(folder) for name, folder in (line.split("\t") for line in done.stdout.splitlines())}


def go_build(name: str) -> Path:
    """The folder with the programs of one Go build."""
    return go_builds()[name]


@dataclass(frozen=True)
class Plan:
    """Everything a mirror is made of, with the hash of each piece; nothing in it has to exist yet."""

    packages: Path
    images: Mapping[str, Image]
    hashes: Mapping[str, str]
    builder: Builder

    @property
    def path(self) -> Path:
        """The mirror's folder."""
        debs = [deb.hash_of(go_hashes()[deb.build]) for deb in kubernetes_packages.PACKAGES]
        references = {image.reference: self.hashes[name] for name, image in self.images.items()}
        return CACHE / f"mirror-{digest(RECIPE, debian.identity(self.packages), debs, references)}"


def plan() -> Plan:
    packages = debian.folder(DEBIAN)
    release = debian.selection(DEBIAN).release
    base = debian.identity(packages)
    makers = {
        "rootfs": lambda context: files.rootfs(context, packages, release),
        "pause": files.pause,
        "traefik": files.traefik,
    }
    sources = {
        **go_hashes(),
        "rootfs": digest(base, files.LEFT_OUT, files.SOURCES),
        "pause": digest(files.PAUSE.read_bytes()),
        "traefik": digest(files.TRAEFIK.read_bytes()),
    }
    builder = Builder(packages, release, go_build, makers, sources)
    images: dict[str, Image] = {}
    hashes: dict[str, str] = {}
    for name, image in load(IMAGES, product_tags()).items():
        if not (ROOT / image.folder / "Dockerfile").is_file():
            say(f"{name}: skipped: {image.folder}/Dockerfile is not there")
            continue
        images[name] = image
        hashes[name] = builder.hash_of(image, hashes.get(image.base, ""))
    return Plan(packages, images, hashes, builder)


def build(refresh: bool) -> Path:
    """The mirror's folder, with everything in it built. With `refresh`, Debian's packages are resolved anew."""
    debian.repository(DEBIAN, refresh)
    wanted = plan()
    if wanted.path.is_dir():
        return wanted.path
    debs = [
        kubernetes_packages.build(deb, go_build(deb.build), go_hashes()[deb.build])
        for deb in kubernetes_packages.PACKAGES
    ]
    kubernetes = kubernetes_packages.repository(debs)
    hashes: dict[str, str] = {}
    layouts = {}
    for name, image in wanted.images.items():
        hashes[name], layouts[name] = layout(wanted, image, hashes)
    wanted = replace(wanted, hashes=hashes)
    if wanted.path.is_dir():
        return wanted.path
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".mirror-") as scratch:
        assemble(Path(scratch) / "mirror", wanted, kubernetes, layouts).rename(wanted.path)
    return wanted.path


def assemble(target: Path, wanted: Plan, kubernetes: Path, layouts: Mapping[str, Path]) -> Path:
    """Put the parts together in a folder that will be moved to `wanted.path`: links for packages, a store for images."""
    apt = target / "apt"
    apt.mkdir(parents=True)
    for name, repository in {"debian": wanted.packages, "kubernetes": kubernetes}.items():
        (apt / name).symlink_to(os.path.relpath(repository, wanted.path / "apt"))
    archive.export_key(apt / "qwenvl-lab.gpg", apt / "qwenvl-lab.asc")
    digests = {
        image.reference: registry.put(target / "registry", image.reference, layouts[name])
        for name, image in wanted.images.items()
        if not image.stage
    }
    (target / "digests.json").write_text(json.dumps(digests, indent=2, sort_keys=True) + "\n")
    return target


def layout(wanted: Plan, image: Image, hashes: Mapping[str, str]) -> tuple[str, Path]:
    """Build one image on bases with those hashes; an edit of its folder meanwhile starts it again, twice at most."""
    base = (wanted.images[image.base], hashes[image.base]) if image.base else None
    for attempt in (1, 2, 3):
        hash_ = wanted.builder.hash_of(image, base[1] if base else "")
        try:
            return hash_, wanted.builder.layout(image, hash_, base)
        except SourcesChanged as error:
            if attempt == 3:
                raise
            say(str(error))
    raise AssertionError("not reached")


def push_image(reference: str, folder: Path) -> list[str]:
    """Build one folder's Dockerfile and put the image into every registry that is served; one line for each."""
    wanted = plan()
    known = {image.folder: image for image in wanted.images.values()}
    inside = os.path.relpath(folder.resolve(), ROOT)
    base = known[inside].base if inside in known else "python"
    image = Image("pushed", *_split(reference), folder=inside, base=base)
    hash_ = wanted.builder.hash_of(image, wanted.hashes[base])
    layout = wanted.builder.layout(image, hash_, (wanted.images[base], wanted.hashes[base]))
    return [
        f"{root.name}\t{reference}\t{registry.put(root / 'registry', reference, layout)}"
        for root in service.all_served()
    ]


def _split(reference: str) -> tuple[str, str]:
    repository, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        raise MirrorError(f"{reference}: no tag; an image is named REPOSITORY:TAG")
    return repository, tag


def prune() -> int:
    """Delete the parts, blobs and mirrors that the current mirror and what is served do not need; returns how many."""
    wanted = plan()
    mirrors = {wanted.path, *((root / "apt").resolve().parent for root in service.all_served())}
    needed = mirrors | {wanted.packages} | {path.resolve() for mirror in mirrors for path in mirror.glob("apt/*")}
    needed |= {PARTS / f"image-{name}-{hash_}" for name, hash_ in wanted.hashes.items()}
    needed |= {deb.part_of(go_hashes()[deb.build]) for deb in kubernetes_packages.PACKAGES}
    gone = [path for path in (*PARTS.iterdir(), *CACHE.glob("mirror-" + "?" * 16)) if path not in needed]
    for path in gone:
        shutil.rmtree(path)
    for blob in BLOBS.iterdir():
        if blob.stat().st_nlink == 1:
            blob.unlink()
    wanted.builder.forget_all_but({f"localhost/part/{name}:{hash_}" for name, hash_ in wanted.hashes.items()})
    return len(gone)
