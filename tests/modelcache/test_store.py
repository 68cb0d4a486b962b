"""The folder of a worker's copy: what is whole, what is held, what is collected, what fits."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

import pytest
from model_cache.hold import lock
from model_cache.manifest import Entry, Manifest
from model_cache.store import MARK, LocalError, Store

DATA = {"config.json": b"{}", "sub/weights.bin": bytes(1000), "empty": b""}


def manifest() -> Manifest:
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in DATA.items()}
    text = "".join(f"{digest}  {path}\n" for path, digest in digests.items())
    return Manifest(text, tuple(Entry(path, len(DATA[path]), "sha256", digest) for path, digest in digests.items()))


def fill(store: Store) -> None:
    store.prepare()
    for entry in manifest().entries:
        store.append(entry, DATA[entry.path])
        assert store.accept(entry)
    store.finish(manifest())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "model", "r1")


def test_a_revision_appears_whole_or_not_at_all(store: Store) -> None:
    store.prepare()
    first, *rest = manifest().entries
    store.append(first, DATA[first.path])
    assert store.accept(first)
    assert store.complete() is None
    assert not store.final.exists()
    for entry in rest:
        store.append(entry, DATA[entry.path])
        assert store.accept(entry)
    store.finish(manifest())
    assert store.complete() == manifest()
    assert not store.incoming.exists()
    assert (store.final / "SHA256SUMS").read_text() == manifest().text
    assert store.verified(manifest(), lambda: None) == set(DATA)


@pytest.mark.parametrize("wrong", [b"", b"{", b"{}}", b"[]"])
def test_a_part_that_is_not_the_file_is_thrown_away(store: Store, wrong: bytes) -> None:
    store.prepare()
    entry = manifest().entries[0]
    store.append(entry, wrong)
    assert not store.accept(entry)
    assert store.part_size(entry) == 0
    assert not store.locate(entry).exists()


def test_another_revision_goes_once_nobody_holds_it(store: Store, tmp_path: Path) -> None:
    fill(store)
    other = Store(tmp_path, "model", "r2")
    fill(other)
    descriptor, why = lock(store, "")
    assert descriptor is not None, why
    assert other.collect(0) == []
    assert store.complete()
    os.close(descriptor)
    assert other.collect(60) == [], "not at once: a pod may be coming back"
    assert other.collect(0) == ["revisions/r1/model"]
    assert not store.final.exists()
    assert other.complete()
    assert list((tmp_path / "trash").iterdir()) == []


def test_what_is_kept_is_never_collected(store: Store) -> None:
    fill(store)
    assert store.collect(0) == []
    assert store.collect(0) == []
    assert store.complete()


def test_no_pod_can_begin_to_hold_what_is_being_collected(store: Store) -> None:
    fill(store)
    descriptor = os.open(store.final / MARK, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert lock(store, "") == (None, "it is being collected")
    os.close(descriptor)
    held, _ = lock(store, "")
    assert held is not None
    os.close(held)


def test_a_pod_with_another_list_of_files_waits(store: Store) -> None:
    fill(store)
    held, why = lock(store, "0" * 64)
    assert held is None
    assert manifest().digest in why
    held, _ = lock(store, manifest().digest)
    assert held is not None
    os.close(held)


def test_room_is_counted_with_the_reserve(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = os.statvfs_result((4096, 4096, 1000, 0, 200, 0, 0, 0, 0, 255))  # 1000 blocks, 200 of them free
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    store.room(100 * 4096, 10)
    with pytest.raises(LocalError, match="to stay free"):
        store.room(101 * 4096, 10)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(LocalError, match="must own it"):
        Store(tmp_path / "cache", "model", "r1").prepare()
