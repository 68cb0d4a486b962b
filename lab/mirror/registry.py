"""The image registry's store: the folders docker-registry reads, made of hard links instead of pushes.

docker-registry keeps blobs under their digest and everything else as small text files that hold a digest (`link`
files), so a registry with twenty images is laid out in a moment and shares its layers with the parts they come from.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from lab.mirror.images import manifest_digest

STORE = Path("docker/registry/v2")


def _link(path: Path, digest: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    # Written anew and renamed: the registry may be reading it, and a copy elsewhere may share the old file.
    scratch = path / ".link"
    scratch.write_text(digest)
    scratch.rename(path / "link")


def put(root: Path, reference: str, layout: Path) -> str:
    """Add the image in an OCI layout to the registry's store as `repository:tag`; returns its digest."""
    repository, _, tag = reference.rpartition(":")
    digest = manifest_digest(layout)
    store = root / STORE
    here = store / "repositories" / repository
    for blob in (layout / "blobs/sha256").iterdir():
        target = store / "blobs/sha256" / blob.name[:2] / blob.name / "data"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(blob, target)
    manifest = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())
    for blob in (manifest["config"], *manifest["layers"]):
        _link(here / "_layers" / blob["digest"].replace(":", "/"), blob["digest"])
    _link(here / "_manifests/revisions" / digest.replace(":", "/"), digest)
    _link(here / "_manifests/tags" / tag / "index" / digest.replace(":", "/"), digest)
    _link(here / "_manifests/tags" / tag / "current", digest)
    return digest


def copy(source: Path, target: Path) -> None:
    """Copy or update a store for serving: blobs as hard links, the rest as files of its own, which a push may change."""
    for path in sorted((source / STORE).rglob("*")):
        copied = target / path.relative_to(source)
        if path.is_dir():
            copied.mkdir(parents=True, exist_ok=True)
        elif path.name == "data":
            if not copied.exists():
                os.link(path, copied)
        else:
            _link(copied.parent, path.read_text())
