"""The model store's scripts that run as root, on folders of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.scripts import FakeNode, Ran

PROTECT = "components/hosts/scripts/protect_export.sh"
END = "components/hosts/scripts/end_export.sh"
FOLDER = "components/hosts/scripts/model_cache_folder.sh"


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path / "node")


def settles(node: FakeNode, script: str, **environment: str) -> Ran:
    """Drifted, then applied, then unchanged, also a second time; the run that applied."""
    assert node.run(script, "check", **environment).code == 1
    applied = node.run(script, "apply", **environment)
    assert applied.code == 0, applied.errors
    for verb in ("check", "apply"):
        again = node.run(script, verb, **environment)
        assert (again.code, again.output.partition(":")[0]) == (0, "unchanged"), again
    return applied


def test_nothing_in_an_export_may_be_written_by_everybody(node: FakeNode, tmp_path: Path) -> None:
    export = tmp_path / "export"
    shard = export / "Qwen3-VL-4B-Instruct/r1/model.safetensors"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"weights")
    shard.chmod(0o666)
    shard.parent.chmod(0o777)
    export.chmod(0o755)
    settles(node, PROTECT, EXPORT=str(export), OWNER=str(os.getuid()))
    assert shard.stat().st_mode & 0o777 == 0o664
    assert shard.parent.stat().st_mode & 0o777 == 0o775
    assert shard.read_bytes() == b"weights"


@pytest.mark.skipif(os.getuid() != 0, reason="gives folders away")
def test_an_export_belongs_to_its_writer(node: FakeNode, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir(mode=0o777)
    settles(node, PROTECT, EXPORT=str(export), OWNER="20490")
    found = export.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (20490, 20490, 0o755)


def test_a_link_in_the_exports_place_is_refused(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "export").symlink_to(tmp_path)
    done = node.run(PROTECT, "apply", EXPORT=str(tmp_path / "export"), OWNER="0")
    assert done.code == 2
    assert "Move it away" in done.errors


def test_ending_an_export_keeps_the_models(node: FakeNode, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    (export / "model").write_text("weights")
    node.write("/etc/exports.d/qwen3-vl.exports")
    node.write("/etc/systemd/system/nfs-ganesha.service.d/qwen3-vl.conf")
    node.program("exportfs", "")
    done = node.run(END, "apply", EXPORT=str(export))
    assert done.code == 0, done.errors
    assert done.calls == ["exportfs -ra", "systemctl disable --now --quiet nfs-ganesha.service"]
    assert not node.exists("/etc/exports.d/qwen3-vl.exports")
    assert (export / "model").read_text() == "weights"
    assert node.run(END, "apply", EXPORT=str(export)).calls == []


@pytest.mark.skipif(os.getuid() != 0, reason="gives folders away")
def test_the_copys_folder_is_the_agents_and_what_is_in_it_stays(node: FakeNode, tmp_path: Path) -> None:
    cache = tmp_path / "var/models"
    settles(node, FOLDER, CACHE=str(cache), OWNER="10010")
    (cache / "kept").write_text("x")
    cache.chmod(0o700)
    settles(node, FOLDER, CACHE=str(cache), OWNER="10010")
    assert (cache / "kept").read_text() == "x"


def test_a_file_in_the_copys_place_is_refused(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a folder")
    done = node.run(FOLDER, "apply", CACHE=str(tmp_path / "models"), OWNER="10010")
    assert done.code == 2
    assert "modelStore.cachePath" in done.errors
