"""The files on this node.

    <root>/revisions/<revision>/<model>/...   complete and verified, never changed; appears by one rename
    <root>/incoming/<revision>/<model>/...    a fill under way: verified files, and `.part` for one that is not whole yet
    <root>/trash/                             on its way out
    <root>/status.json                        how far this node is, for who waits

A pod mounts `revisions/<revision>`, so it sees its own revision and no other, also while the next one is being filled.
A pod holds a shared lock on the revision's mark; nothing is collected while one is held.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from model_cache.manifest import SUMS, Entry, Manifest, ManifestError

MARK = ".model-cache.json"  # the manifest; its presence says that the revision is whole
CHUNK = 1 << 20


class LocalError(Exception):
    """This node's own disk refuses: no room, or an error of it."""


@dataclass(slots=True)
class Store:
    root: Path
    model: str  # last part of the model's name
    revision: str
    _free_since: dict[str, float] = field(default_factory=dict)

    @property
    def final(self) -> Path:
        return self.root / "revisions" / self.revision / self.model

    @property
    def incoming(self) -> Path:
        return self.root / "incoming" / self.revision / self.model

    def prepare(self) -> None:
        """Raises LocalError if the cache's folder cannot be written."""
        try:
            for name in ("revisions", "incoming", "trash"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self.root / "trash", ignore_errors=True)
            (self.root / "trash").mkdir(exist_ok=True)
        except OSError as error:
            raise LocalError(f"{self.root}: {error.strerror}; the agent's user must own it") from error

    def complete(self) -> Manifest | None:
        """The manifest of the revision if it is whole here."""
        return read_mark(self.final)

    def locate(self, entry: Entry) -> Path:
        """Where a verified file is: in the finished revision, or in the fill under way."""
        finished = self.final / entry.path
        return finished if (self.final / MARK).exists() else self.incoming / entry.path

    def part(self, entry: Entry) -> Path:
        return self.incoming / f"{entry.path}.part"

    def part_size(self, entry: Entry) -> int:
        try:
            return self.part(entry).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, entry: Entry, chunk: bytes) -> None:
        """Add to what there is of a file. Raises LocalError."""
        try:
            with self.part(entry).open("ab", buffering=0) as out:
                view = memoryview(chunk)
                while view:
                    view = view[out.write(view) :]
        except FileNotFoundError:
            self.part(entry).parent.mkdir(parents=True, exist_ok=True)
            self.append(entry, chunk)
        except OSError as error:
            raise LocalError(f"{self.part(entry)}: {error.strerror}") from error

    def discard(self, entry: Entry) -> None:
        self.part(entry).unlink(missing_ok=True)

    def accept(self, entry: Entry) -> bool:
        """Take the whole part over if it is what the manifest says, else throw it away and return False."""
        part = self.part(entry)
        if entry.size == 0:
            self.append(entry, b"")
        if part.stat().st_size != entry.size or digest_of(part, entry) != entry.digest:
            self.discard(entry)
            return False
        target = self.locate(entry)
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o444)
        part.replace(target)
        return True

    def verified(self, manifest: Manifest, before_each: Callable[[], None]) -> set[str]:
        """Paths whose content on this node is right; every byte is read, which takes seconds for each file."""
        found = set()
        for entry in manifest.entries:
            before_each()
            if is_whole(self.locate(entry), entry):
                found.add(entry.path)
        return found

    def finish(self, manifest: Manifest) -> None:
        """Make the filled revision appear, whole, by one rename."""
        texts = {MARK: manifest.to_json()}
        if all(entry.algorithm == "sha256" for entry in manifest.entries):
            texts[SUMS] = manifest.text
        for name, text in texts.items():
            with (self.incoming / name).open("w") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            (self.incoming / name).chmod(0o444)
        sync_folder(self.incoming)
        self.final.parent.mkdir(parents=True, exist_ok=True)
        if self.final.exists():  # without a mark: left by a crash of the file system
            self.final.rename(self.root / "trash" / uuid.uuid4().hex)
        self.incoming.rename(self.final)
        sync_folder(self.final.parent)

    def room(self, needed: int, reserve_percent: float) -> None:
        """Raises LocalError if `needed` bytes would leave less than the reserve free."""
        found = os.statvfs(self.root)
        free, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        reserve = int(whole * reserve_percent / 100)
        if free - needed < reserve:
            raise LocalError(
                f"{self.root}: {free >> 20} MiB free, {needed >> 20} MiB wanted and {reserve >> 20} MiB"
                f" ({reserve_percent:g} %) to stay free. Free space on the node or give the cache a disk of its own"
            )

    def collect(self, grace_seconds: float) -> list[str]:
        """Remove what no pod has held for `grace_seconds`: other revisions, and fills of them. Returns their names."""
        gone = []
        for kind in ("revisions", "incoming"):
            for folder in sorted((self.root / kind).glob("*/*")):
                mine = folder in (self.final, self.incoming)
                name = str(folder.relative_to(self.root))
                with unused(folder) as free:
                    if mine or not free:
                        self._free_since.pop(name, None)
                        continue
                    since = self._free_since.setdefault(name, time.monotonic())
                    if time.monotonic() - since < grace_seconds:
                        continue
                    folder.rename(self.root / "trash" / uuid.uuid4().hex)
                    with contextlib.suppress(OSError):
                        folder.parent.rmdir()
                    gone.append(name)
        shutil.rmtree(self.root / "trash", ignore_errors=True)
        (self.root / "trash").mkdir(exist_ok=True)
        return gone

    def tell(self, status: dict[str, object]) -> None:
        """Leave word of how far this node is; a full disk must not stop that from being tried again."""
        temporary = self.root / ".status.json.new"
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(status))
            temporary.replace(self.root / "status.json")


def read_mark(folder: Path) -> Manifest | None:
    try:
        return Manifest.from_json((folder / MARK).read_text())
    except (OSError, ManifestError):
        return None


def is_whole(path: Path, entry: Entry) -> bool:
    try:
        return path.stat().st_size == entry.size and digest_of(path, entry) == entry.digest
    except OSError:
        return False


def digest_of(path: Path, entry: Entry) -> str:
    found = entry.hash()
    with path.open("rb", buffering=0) as content:
        while chunk := content.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Whether no pod holds the revision; while inside, none can start to."""
    try:
        descriptor = os.open(folder / MARK, os.O_RDONLY)
    except OSError:
        yield True  # never finished, so never offered
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
