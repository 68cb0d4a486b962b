"""What a model revision consists of: every file with its size and digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_DIGEST = {"sha256": re.compile(r"[0-9a-f]{64}"), "git-sha1": re.compile(r"[0-9a-f]{40}")}


class ManifestError(ValueError):
    """The list of files cannot be used; the text says why."""


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. `git-sha1` is git's own name of a blob, which the Hugging Face hub gives for its small files."""

    path: str
    size: int
    algorithm: str
    digest: str

    def hash(self) -> Hash:
        if self.algorithm == "git-sha1":
            return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        return hashlib.sha256()


@dataclass(frozen=True, slots=True)
class Manifest:
    """`text` is the source's own list; its SHA-256 is what a stack config may pin."""

    text: str
    entries: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)

    def by_path(self) -> dict[str, Entry]:
        return {entry.path: entry for entry in self.entries}

    def to_json(self) -> str:
        entries = [[e.path, e.size, e.algorithm, e.digest] for e in self.entries]
        return json.dumps({"text": self.text, "entries": entries})

    @staticmethod
    def from_json(text: str) -> Manifest:
        """Raises ManifestError for anything that `to_json` does not write."""
        try:
            found: Any = json.loads(text)
            entries = tuple(checked(Entry(*fields)) for fields in found["entries"])
            manifest = Manifest(str(found["text"]), entries)
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestError(f"not a manifest: {error}") from error
        unique(entry.path for entry in manifest.entries)
        return manifest


def checked(entry: Entry) -> Entry:
    """The entry itself. Raises ManifestError for a path that leaves the folder, a negative size or an unknown digest."""
    parts = entry.path.split("/")
    if not entry.path or any(part in ("", ".", "..") for part in parts) or any(c < " " for c in entry.path):
        raise ManifestError(f"{entry.path!r} is not a plain path below the model's folder")
    if parts[0].startswith(".model-cache"):
        raise ManifestError(f"{entry.path!r} is a name the cache keeps for itself")
    if not isinstance(entry.size, int) or entry.size < 0:
        raise ManifestError(f"{entry.path}: {entry.size!r} is not a size")
    if entry.algorithm not in _DIGEST or not _DIGEST[entry.algorithm].fullmatch(entry.digest):
        raise ManifestError(f"{entry.path}: {entry.algorithm} {entry.digest!r} is not a digest")
    return entry


def unique(paths: Iterable[str]) -> list[str]:
    """The paths in order. Raises ManifestError if there are none or one comes twice."""
    found = list(paths)
    if not found:
        raise ManifestError("it lists no file")
    if len(set(found)) != len(found):
        raise ManifestError("a file is listed twice")
    return found


def digests(text: str) -> dict[str, str]:
    """Path -> SHA-256 from the lines `sha256sum` writes. Raises ManifestError."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ManifestError(f"{SUMS}, line {number}: not a line of sha256sum")
        found.append((match[2].removeprefix("./"), match[1]))
    unique(path for path, _ in found)
    return dict(found)


def from_sums(text: str, sizes: Callable[[list[str]], Mapping[str, int]]) -> Manifest:
    """The manifest a SHA256SUMS file stands for; `sizes` asks the source, since that file has none."""
    wanted = digests(text)
    for path, digest in wanted.items():
        checked(Entry(path, 0, "sha256", digest))
    size = sizes(list(wanted))
    return Manifest(text, tuple(checked(Entry(path, size[path], "sha256", digest)) for path, digest in wanted.items()))
