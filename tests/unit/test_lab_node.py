"""What `up` decides for a node, and the container it describes."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab import cgroups, status, topology
from lab.commands import main, shell_words
from lab.node import VOLUMES, Facts, Plan, config, plan
from lab.topology import Node

NODE = Node("gpu-1", "worker", IPv4Address("10.77.0.21"), 1)
RECORD = {"address": "10.77.0.21", "base": "abc", "base_identity": "one"}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(RECORD, True, "one", True), Plan.KEEP),
        (Facts(RECORD, True, "one", False), Plan.START),
        (Facts(None, False, None, False), Plan.CREATE),
        (Facts(None, True, "one", True), Plan.CREATE),
        (Facts(RECORD, False, "one", True), Plan.REBUILD),
        (Facts(RECORD, True, None, True), Plan.REBUILD),
        (Facts(RECORD, True, "two", False), Plan.REBUILD),
        (Facts({**RECORD, "address": "10.77.0.22"}, True, "one", True), Plan.REBUILD),
    ],
)
def test_plan(facts: Facts, expected: Plan) -> None:
    assert plan(NODE, facts) is expected


def test_container_has_its_own_network_identity_and_real_filesystems_where_overlay_fails() -> None:
    text = config(topology.load("lab"), NODE, Path("/labs/lab/nodes/gpu-1"), Path("/labs/base/abc"))
    lines = text.splitlines()
    assert "lxc.net.0.link = qvl-lab" in lines
    assert "lxc.net.0.veth.pair = qvl-l-gpu-1" in lines
    assert "lxc.net.0.ipv4.address = 10.77.0.21/24" in lines
    assert "lxc.net.0.hwaddr = 02:71:0a:4d:00:15" in lines
    assert "lxc.rootfs.path = overlayfs:/labs/base/abc:/labs/lab/nodes/gpu-1/delta" in lines
    for target in ("var/lib/containerd", "var/lib/etcd", "exports"):
        assert target in VOLUMES.values()
        assert any(line.endswith(f" {target} none bind,create=dir 0 0") for line in lines)


def test_removing_a_control_group_takes_the_groups_below_it(tmp_path: Path) -> None:
    (tmp_path / "node/system.slice/ssh.service").mkdir(parents=True)
    assert cgroups.remove(tmp_path / "node")
    assert not (tmp_path / "node").exists()


def test_shell_words_stay_apart() -> None:
    assert shell_words([]) == []
    assert shell_words(["ls | wc -l"]) == ["ls | wc -l"]
    assert shell_words(["sh", "-c", "echo a b"]) == ["sh -c 'echo a b'"]


def test_table_tells_off_from_cut() -> None:
    common = {"name": "gpu-1", "role": "worker", "address": "10.77.0.21", "gpus": 1}
    nodes = [
        {**common, "running": True, "system": "running", "booted": True, "cut": False},
        {**common, "running": True, "system": "running", "booted": False, "cut": True},
        {**common, "running": False, "system": "off", "booted": False, "cut": False},
    ]
    found = status.table({"lab": "lab", "up": True, "bridge": True, "mirror": False, "nodes": nodes}).splitlines()
    assert found[0] == "lab lab: bridge up, mirror does not serve"
    assert [line.split()[-3:] for line in found[2:]] == [
        ["running", "answers", "connected"],
        ["running", "silent", "cut"],
        ["off", "silent", "-"],
    ]


def test_exit_codes_and_one_line_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LAB", "nope")
    assert main(["up"]) == 1
    assert capsys.readouterr().err == "lab: LAB=nope: no such topology; one of lab, small\n"
    with pytest.raises(SystemExit) as stopped:
        main(["add", "gpu-3", "gpu"])
    assert stopped.value.code == 2


def test_a_full_disk_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAB", "lab")
    monkeypatch.setenv("QWENVL_LAB_ROOT", str(tmp_path / "file"))
    monkeypatch.setattr("lab.commands.require_root", lambda: None)
    assert main(["kill", "gpu-1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"lab: {tmp_path}/file: ")
    assert said.count("\n") == 1
