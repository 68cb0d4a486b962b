"""The export as a storage node has it, seen by the machines it is for and by others. NFS-Ganesha is real."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from model_cache.sources import SourceError, open_source

from components.hosts.nfs_export import WRITER_ID
from tests.support.cache_processes import MODEL, Ganesha, checkpoint

DEADLINE = 10.0


def written(server: Ganesha, source: Path, name: str) -> bool:
    address, _, query = server.url.partition("?")
    done = subprocess.run(
        ["nfs-cp", str(source), f"{address}/{name}?{query}&version=4"], capture_output=True, timeout=60
    )
    return done.returncode == 0


def test_a_worker_reads_and_cannot_write(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "export", "r1")
    (tmp_path / "export").chmod(0o755)
    with Ganesha(tmp_path / "export") as server:
        source = open_source(server.url, MODEL, "r1", None, DEADLINE)
        manifest = source.manifest()
        assert {entry.path: entry.size for entry in manifest.entries} == {
            path.name: path.stat().st_size for path in model.iterdir() if path.name != "SHA256SUMS"
        }
        assert b"".join(source.read("config.json", 5)) == (model / "config.json").read_bytes()[5:]
        with pytest.raises(SourceError, match=r"no-such-file.*NOENT"):
            b"".join(source.read("no-such-file", 0))
        assert not written(server, model / "config.json", "written")
    assert not (tmp_path / "export/written").exists()


def test_a_stranger_sees_nothing(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "export", "r1")
    with Ganesha(tmp_path / "export", reader="192.0.2.1") as server:
        with pytest.raises(SourceError):
            open_source(server.url, MODEL, "r1", None, DEADLINE).manifest()
        assert not written(server, model / "config.json", "written")


def test_the_writer_writes_as_the_exports_owner_and_as_nobody_else(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "export", "r1")
    os.chown(tmp_path / "export", WRITER_ID, WRITER_ID)
    with Ganesha(tmp_path / "export", reader="192.0.2.1", writer="127.0.0.1") as server:
        assert written(server, model / "config.json", "written")
        assert not written(server, model / "config.json", "Qwen3-VL-4B-Instruct/root-owns-this")
    found = (tmp_path / "export/written").stat()
    assert (found.st_uid, found.st_gid) == (WRITER_ID, WRITER_ID)
