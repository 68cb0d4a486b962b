"""tools/import-model against a real sshd: what arrives, what is continued, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.settings import Settings
from tests.support.cache_processes import content
from tests.support.ssh_server import SshServer, make_key
from tools import import_model
from tools.import_model import ImportProblem, Model, Target

REVISION = "Qwen3-VL-4B-Instruct/r1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> SshServer:
    folder = tmp_path_factory.mktemp("sshd")
    server = SshServer(folder, make_key(folder / "key"))
    (folder / "known_hosts").write_text(server.known_hosts_line())
    return server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "download"
    (folder / ".cache").mkdir(parents=True)
    (folder / ".cache/lock").write_text("not a part of the model")
    (folder / "config.json").write_text("{}")
    (folder / "empty.txt").write_text("")
    (folder / "with space.bin").write_bytes(bytes(range(256)) * 4000)
    return folder


@pytest.fixture
def target(server: SshServer, tmp_path: Path) -> Target:
    config = {
        "nodes": [
            {"name": "head", "address": "127.0.0.2", "role": "control-plane"},
            {"name": "gpu-1", "address": "127.0.0.3", "role": "worker", "gpus": 1},
            {"name": "storage-1", "address": "127.0.0.1", "role": "storage", "port": server.port},
        ],
        "ssh": {"knownHosts": str(server.folder / "known_hosts"), "privateKeyFile": str(server.folder / "key")},
        "loadBalancer": {"addresses": ["192.168.1.200-192.168.1.220"]},
        "inference": {"replicas": 1},
        "modelStore": {"path": str(tmp_path / "export").replace("[", "-").replace("]", "-")},
    }
    # Loopback addresses are refused as nodes; the sshd of the tests has no other.
    settings = Settings.model_validate(config)
    (found,) = import_model.targets(settings)
    return found


def test_a_model_arrives_whole_and_only_once(server: SshServer, source: Path, target: Target) -> None:
    with server:
        said = target.deliver(Model.read(source))
        assert "3 files" in said
        arrived = Path(target.store) / REVISION
        names = {"config.json", "empty.txt", "with space.bin", "SHA256SUMS"}
        assert set(content(arrived)) == names
        assert (arrived / "with space.bin").read_bytes() == (source / "with space.bin").read_bytes()
        assert {path.stat().st_mode & 0o777 for path in arrived.iterdir()} == {0o644}
        assert "unchanged" in target.deliver(Model.read(source))


def test_a_broken_off_import_goes_on_and_damage_is_found(server: SshServer, source: Path, target: Target) -> None:
    incoming = Path(target.store) / ".incoming-Qwen3-VL-4B-Instruct-r1"
    incoming.mkdir(parents=True)
    whole = (source / "with space.bin").read_bytes()
    (incoming / "with space.bin").write_bytes(b"x" + whole[1:1000])
    with server:
        with pytest.raises(ImportProblem, match="arrived damaged"):
            target.deliver(Model.read(source))
        assert not (Path(target.store) / REVISION).exists()
        target.deliver(Model.read(source))
    assert (Path(target.store) / REVISION / "with space.bin").read_bytes() == whole


def test_a_revision_is_never_changed(server: SshServer, source: Path, target: Target) -> None:
    with server:
        target.deliver(Model.read(source))
        (source / "config.json").write_text(json.dumps({"changed": True}))
        with pytest.raises(ImportProblem, match="a revision never changes"):
            target.deliver(Model.read(source))
    assert (Path(target.store) / REVISION / "config.json").read_text() == "{}"


def test_a_foreign_host_key_is_refused(server: SshServer, source: Path, target: Target, tmp_path: Path) -> None:
    other = SshServer(tmp_path / "other", make_key(tmp_path / "key"), port=server.port)
    with other, pytest.raises(ImportProblem, match=r"storage-1: .*[Hh]ost key"):
        target.deliver(Model.read(source))


def test_a_download_that_disagrees_with_its_own_sums_is_refused(source: Path) -> None:
    (source / "SHA256SUMS").write_text(f"{'0' * 64}  config.json\n")
    with pytest.raises(ImportProblem, match="does not agree"):
        Model.read(source)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportProblem, match=r"no config\.json"):
        Model.read(tmp_path)
