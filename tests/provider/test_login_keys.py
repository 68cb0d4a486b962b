"""The operator's SSH key is changed by two runs of the provider on a real sshd, and no run can take away its own way in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.hosts.base_system import authorize_keys
from components.settings import Ssh
from host.errors import HostError, Refused
from tests.provider.conftest import connection, run_with
from tests.support.ssh_server import SshServer, make_key

FILE = "/root/.ssh/authorized_keys"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return make_key(tmp_path / "new")


@pytest.fixture
def node(tmp_path: Path, key: Path) -> Iterator[SshServer]:
    """A node that lets `key` and somebody else's in, as sshd does by default: by the user's own file."""
    lock = tmp_path / "lock"
    home = tmp_path / "home"
    for folder in (lock, home):
        folder.mkdir()
    mounts = {"/root": str(home), "/run/lock": str(lock)}
    options = {"AuthorizedKeysFile": ".ssh/authorized_keys"}
    with SshServer(tmp_path / "sshd", key, mounts=mounts, options=options) as server:
        server.inside("mkdir -p -m 0700 /root/.ssh")
        server.inside(f"cat >{FILE}", f"# ours\n{text(key)} first\n{others(tmp_path)}")
        yield server


def text(key: Path) -> str:
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


def others(folder: Path) -> str:
    """A colleague's, with options in front, and no newline at the end of the file."""
    other = folder / "other"
    return f'from="10.0.0.0/8",no-pty {text(other if other.exists() else make_key(other))} colleague'


def inputs(server: SshServer, *, authorized: tuple[Path, ...] = (), revoked: tuple[Path, ...] = ()) -> dict[str, Any]:
    ssh = Ssh(authorized_keys=tuple(map(text, authorized)), revoked_keys=tuple(map(text, revoked)))
    return {"connection": connection(server), "scripts": [authorize_keys(ssh, "root").to_inputs()]}


def lines(server: SshServer) -> list[str]:
    return server.inside(f"cat {FILE}").splitlines()


def test_two_runs_change_the_key_and_leave_others_alone(tmp_path: Path, node: SshServer, key: Path, new: Path) -> None:
    with pytest.raises(Refused):
        run_with(new).create("Facts", "facts", {"connection": connection(node)})
    first = inputs(node, authorized=(new,))
    known = run_with(key).create("Configuration", "n1-base", first)
    assert lines(node) == ["# ours", f"{text(key)} first", others(tmp_path), text(new)]
    assert run_with(key).diff(known) == []
    assert run_with(new).diff(known) == [], "either key gets in"

    second = inputs(node, authorized=(new,), revoked=(key,))
    run = run_with(new)
    assert run.diff(known, second)
    settled = run.update(known, second)
    assert "drifted: script authorize_keys (keys of root: 0 to be let in, 1 to be taken out)" in run.texts("INFO")
    assert lines(node) == ["# ours", others(tmp_path), text(new)]
    assert node.inside(f"stat -c '%a %U:%G' {FILE}") == "600 root:root\n"
    assert run_with(new).diff(settled) == []
    with pytest.raises(Refused):
        run_with(key).create("Facts", "facts", {"connection": connection(node)})


def test_the_key_that_has_just_logged_in_is_not_taken_out(node: SshServer, key: Path, new: Path) -> None:
    before = lines(node)
    with pytest.raises(HostError, match=r"ssh\.revokedKeys has the key that this run logs in with"):
        run_with(key).create("Configuration", "n1-base", inputs(node, authorized=(new,), revoked=(key,)))
    assert lines(node) == before


def test_a_key_that_is_let_in_already_is_nothing_to_do(node: SshServer, key: Path, tmp_path: Path) -> None:
    before = lines(node)
    engine = run_with(key)
    engine.create("Configuration", "n1-base", inputs(node, authorized=(key, tmp_path / "other")))
    assert lines(node) == before
    assert "already as wanted" in engine.texts("INFO")


def test_a_user_without_a_file_gets_one(node: SshServer, key: Path, new: Path) -> None:
    run = run_with(key)
    run.create("Facts", "facts", {"connection": connection(node)})  # the connection of this run
    node.inside("rm -r /root/.ssh")
    run.create("Configuration", "n1-base", inputs(node, authorized=(new,)))
    assert lines(node) == [text(new)]
    assert node.inside("stat -c '%a %U:%G' /root/.ssh") == "700 root:root\n"
    run_with(new).create("Facts", "facts", {"connection": connection(node)})
