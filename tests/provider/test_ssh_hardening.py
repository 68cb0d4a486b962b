"""sshd's hardened settings on a real sshd: they stay if somebody gets in with them, and are taken back if nobody does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.hosts.ssh_hardening import hardening_files, hardening_script
from host.errors import HostError, KeyRefused
from tests.provider.conftest import connection, run_with
from tests.support.provider import file
from tests.support.ssh_server import SshServer

PROGRAMS = Path(__file__).parent / "programs"
LIVE = "/etc/ssh/sshd_config.d/00-qwen3-vl.conf"
CONFIRM, UNDO = 5, 300  # seconds


class Node:
    """A server that reads sshd_config.d as distributions have it, and whose `sshd -T` speaks of itself."""

    def __init__(self, root: Path, key: Path) -> None:
        self.stand_in = root / "stand-in"
        self.stand_in.mkdir()
        (root / "usr").mkdir()
        mounts = {
            "/etc": f"overlay {root}/etc",
            "/var/lib": f"overlay {root}/var",
            "/run": f"overlay {root}/run",
            "/usr/local/lib": str(root / "usr"),
        }
        self.server = SshServer(root / "sshd", key, mounts=mounts)
        for name in ("systemctl", "systemd-run"):
            shutil.copy(PROGRAMS / name, self.server.programs / name)
        self.config = self.server.folder / "sshd_config"
        own = self.config.read_text().replace("SetEnv PATH=", f"SetEnv STAND_IN={self.stand_in} PATH=")
        own = own.replace("PasswordAuthentication no", "PasswordAuthentication yes")
        self.config.write_text("Include /etc/ssh/sshd_config.d/*.conf\n" + own)
        self.server.program("sshd", f'#!/bin/sh\nexec /usr/sbin/sshd "$@" -f {self.config}\n')

    def start(self) -> None:
        self.server.start()
        assert self.server._process is not None
        (self.stand_in / "sshd.pid").write_text(str(self.server._process.pid))

    def effective(self) -> str:
        return self.server.inside(f"/usr/sbin/sshd -T -f {self.config}")

    def live(self) -> str:
        return self.server.inside(f"cat {LIVE} 2>/dev/null || true")

    def timers(self) -> list[str]:
        folder = self.stand_in / "timers"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def inputs(self, *, on: bool = True, more: str = "") -> dict[str, Any]:
        script = hardening_script(on=on).to_inputs()
        script["environment"]["UNDO_SECONDS"] = str(UNDO)
        if on:
            script["confirmSeconds"] = CONFIRM
        files = hardening_files("root") if on else {}
        return {
            "connection": connection(self.server),
            "files": {
                path: file(str(f.content) + (more if path.endswith("sshd.conf") else ""), f.mode)
                for path, f in files.items()
            },
            "scripts": [script],
        }


@pytest.fixture
def node(tmp_path: Path, key: Path) -> Iterator[Node]:
    made = Node(tmp_path, key)
    try:
        made.start()
        yield made
    finally:
        made.server.stop()


def refused(node: Node, key: Path, **inputs: Any) -> str:
    with pytest.raises(HostError) as caught:
        run_with(key).create("Configuration", "n1-base", node.inputs(**inputs))
    return str(caught.value)


def test_hardened_settings_stay_when_somebody_gets_in_with_them(node: Node, key: Path) -> None:
    assert "passwordauthentication yes" in node.effective()
    engine = run_with(key)
    known = engine.create("Configuration", "n1-base", node.inputs())
    for line in ("passwordauthentication no", "permitrootlogin without-password", "maxauthtries 4", "x11forwarding no"):
        assert line in node.effective()
    assert "-cbc" not in node.effective()
    assert node.timers() == []
    assert engine.diff(known) == []
    assert run_with(key).diff(known) == [], "over a connection made with these settings"
    engine.update(known, node.inputs(on=False))
    assert "passwordauthentication yes" in node.effective()


def test_settings_that_let_nobody_in_are_taken_back_and_the_run_says_so(node: Node, key: Path) -> None:
    message = refused(node, key, more="AllowUsers nobody-here\n")
    assert message.startswith(
        f"n1: nobody came through within {CONFIRM} s after components/hosts/scripts/harden_ssh.sh"
    )
    assert "The change was taken back." in message
    assert node.live() == ""
    assert node.timers() == []
    run_with(key).create("Configuration", "n1-base", node.inputs())


def test_the_former_settings_come_back_not_none(node: Node, key: Path) -> None:
    run_with(key).create("Configuration", "n1-base", node.inputs())
    before = node.live()
    refused(node, key, more="AllowUsers nobody-here\n")
    assert node.live() == before
    assert "passwordauthentication no" in node.effective()


def test_a_run_that_was_killed_before_it_confirmed_leaves_nobody_locked_out(node: Node, key: Path) -> None:
    run_with(key).create("Configuration", "n1-base", node.inputs())
    before = node.live()
    node.server.inside("echo 'AllowUsers nobody-here' >>/etc/qwen3-vl/sshd.conf")
    environment = f"HARDEN=on UNDO_SECONDS=3 STAND_IN={node.stand_in} PATH={node.server.programs}:$PATH"
    node.server.inside(f"{environment} bash /usr/local/lib/qwen3-vl/harden_ssh.sh apply")
    end = time.monotonic() + 180
    while node.live() != before or not gets_in(node, key):  # sshd reads it after the file is there
        assert time.monotonic() < end
        time.sleep(0.2)


def gets_in(node: Node, key: Path) -> bool:
    try:
        return bool(run_with(key).create("Facts", "facts", {"connection": connection(node.server)}))
    except KeyRefused:
        return False


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("Nonsense yes\n", "sshd refuses its configuration: "),
        ("Ciphers none-of-these\n", "sshd refuses its configuration: "),
    ],
)
def test_what_sshd_does_not_understand_changes_nothing(node: Node, key: Path, more: str, said: str) -> None:
    message = refused(node, key, more=more)
    assert said in message
    assert "Nothing was changed" in message
    assert node.live() == ""
    assert node.timers() == []


def test_settings_that_another_file_overrules_are_not_called_applied(node: Node, key: Path) -> None:
    node.config.write_text("MaxAuthTries 6\n" + node.config.read_text())
    assert 'sshd does not say "maxauthtries 4"' in refused(node, key)
    assert node.live() == ""
