"""Packages, units and kernel parameters, with stand-ins for the programs that would change this machine."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.errors import HostError
from tests.provider.conftest import connection, run_with
from tests.support.provider import file
from tests.support.ssh_server import SshServer

PROGRAMS = Path(__file__).parent / "programs"
MOUNTED = ("/var/lib/dpkg",)


class Node:
    """A server whose package manager and systemd are stand-ins; `folder` is what they know."""

    def __init__(self, root: Path, key: Path) -> None:
        self.folder, self.root, self.key = root / "stand-in", root, key
        self.folder.mkdir()
        mounts = {}
        for path in MOUNTED:
            (root / "mounts" / path.strip("/")).mkdir(parents=True)
            mounts[path] = str(root / "mounts" / path.strip("/"))
        mounts["/etc"] = f"overlay {root}/mounts/etc"
        mounts["/run"] = f"overlay {root}/mounts/run"
        self.server = SshServer(root / "sshd", key, mounts=mounts)
        names = ("dpkg-query", "dpkg", "apt-get", "apt-cache", "apt-mark")
        for name in names:
            shutil.copy(PROGRAMS / "package-manager", self.server.programs / name)
        for name in ("systemctl", "sysctl"):
            shutil.copy(PROGRAMS / name, self.server.programs / name)
        config = self.server.folder / "sshd_config"
        config.write_text(config.read_text().replace("SetEnv PATH=", f"SetEnv STAND_IN={self.folder} PATH="))

    def path(self, path: str) -> Path:
        """Where a mounted path of the node really lies."""
        top, _, rest = path.strip("/").partition("/")
        return self.root / "mounts" / top / ("upper" if top == "etc" else "") / rest

    def write(self, name: str, text: str) -> None:
        target = self.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)

    def unit(
        self, name: str, active: str = "active", enabled: str = "enabled", load: str = "loaded", reload: str = "no"
    ) -> None:
        self.write(
            f"units/{name}",
            f"LoadState={load}\nActiveState={active}\nSubState=x\nUnitFileState={enabled}\nNeedDaemonReload={reload}\n",
        )

    def calls(self) -> list[str]:
        """What was called since the last look, questions left out."""
        path = self.folder / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        questions = (" show ", "is-active", "is-system-running", "--audit")
        return [call for call in found if not any(question in call for question in questions)]

    def inputs(self, **fields: Any) -> dict[str, Any]:
        return {"connection": connection(self.server)} | fields


@pytest.fixture
def node(tmp_path: Path, key: Path) -> Iterator[Node]:
    made = Node(tmp_path, key)
    with made.server:
        yield made


def test_packages_are_installed_at_their_version_and_held(node: Node) -> None:
    node.write("upstream", "kubeadm 1.34.2-1.1\nkubeadm 1.34.1-1.1\ncurl 7.88\n")
    inputs = node.inputs(packages={"kubeadm": "1.34.2-1.1", "curl": ""})
    engine = run_with(node.key)
    known = engine.create("Configuration", "n1-base", inputs)
    assert (
        node.folder / "installed"
    ).read_text() == "kubeadm\thold ok installed\t1.34.2-1.1\ncurl\tinstall ok installed\t7.88\n"
    assert [call.split()[:2] for call in node.calls()] == [
        ["apt-get", "update"],
        ["apt-get", "install"],
        ["apt-mark", "hold"],
    ]
    assert engine.diff(known, inputs) == []

    # Another version, the hold taken off, one removed: each is named and mended, nothing else is touched.
    node.write("installed", "kubeadm\tinstall ok installed\t1.34.2-1.1\ncurl\tdeinstall ok config-files\t7.88\n")
    engine = run_with(node.key)
    assert engine.diff(known, inputs) == ['packages["curl"]', 'packages["kubeadm"]']
    assert engine.texts("INFO").splitlines() == [
        "n1: drifted: package kubeadm (not held)",
        "n1: drifted: package curl (not installed)",
    ]
    engine.update(known, inputs)
    calls = node.calls()
    assert [call.split()[0] for call in calls] == ["apt-get", "apt-mark"]
    assert calls[0].endswith("-- curl")

    inputs["packages"] = {"kubeadm": "1.34.1-1.1", "curl": ""}
    assert engine.diff(known, inputs) == ['packages["kubeadm"]']
    engine.update(known, inputs)
    install = node.calls()[0]
    assert install.endswith("-- kubeadm=1.34.1-1.1")
    assert "--allow-downgrades" in install
    assert "--allow-change-held-packages" in install
    assert "--force-confold" in install


def test_a_version_that_is_not_offered_names_those_that_are(node: Node) -> None:
    node.write("upstream", "kubeadm 1.33.0-1.1\nkubeadm 1.34.1-1.1\n")
    with pytest.raises(HostError) as caught:
        run_with(node.key).create("Configuration", "n1-base", node.inputs(packages={"kubeadm": "1.34.2-1.1"}))
    assert str(caught.value) == (
        "n1: package kubeadm has no version 1.34.2-1.1; the package sources offer 1.33.0-1.1, 1.34.1-1.1. "
        "Change the version or the sources."
    )
    assert (node.folder / "installed").read_text() == ""


def test_a_new_package_source_is_read_before_installing(node: Node) -> None:
    node.write("available", "curl 1\n")
    node.write("upstream", "curl 2\n")
    inputs = node.inputs(
        packages={"curl": ""}, files={"/etc/apt/sources.list.d/x.list": file("deb [trusted=yes] x /\n")}
    )
    run_with(node.key).create("Configuration", "n1-base", inputs)
    assert "curl\tinstall ok installed\t2" in (node.folder / "installed").read_text()
    assert node.path("/etc/apt/sources.list.d/x.list").exists()


def test_an_interrupted_installation_is_finished_first(node: Node) -> None:
    node.write("available", "curl 1\n")
    node.write("audit", "curl is half-configured\n")
    run_with(node.key).create("Configuration", "n1-base", node.inputs(packages={"curl": ""}))
    assert [call.split()[-1] for call in node.calls()] == ["-a", "curl"]


def test_the_package_managers_own_words_are_shown(node: Node) -> None:
    node.write("available", "curl 1\n")
    node.write("fail", "E: Unable to fetch some archives: No space left on device\n")
    with pytest.raises(
        HostError, match=r"(?s)n1: E: Unable to fetch.*apt-get install curl failed; the disk is full\. Free space"
    ):
        run_with(node.key).create("Configuration", "n1-base", node.inputs(packages={"curl": ""}))


def test_a_held_lock_names_its_holder_at_the_deadline(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.applying.LOCK_WAIT", 2)
    monkeypatch.setattr("host.messages._STATUS_SECONDS", 0)
    node.write("available", "curl 1\n")
    lock = node.path("/var/lib/dpkg") / "lock-frontend"
    with lock.open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        engine = run_with(node.key)
        with pytest.raises(HostError) as caught:
            engine.create("Configuration", "n1-base", node.inputs(packages={"curl": ""}))
    process = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert str(caught.value).startswith(
        f"n1: /var/lib/dpkg/lock-frontend is held by process {os.getpid()} ({process}), for 2 s; only one package manager"
    )
    assert "waiting: /var/lib/dpkg/lock-frontend" in engine.texts("STATUS")
    run_with(node.key).create("Configuration", "n1-base", node.inputs(packages={"curl": ""}))


def test_units_are_enabled_and_started_and_their_drift_is_named(node: Node) -> None:
    node.unit("a.service", "inactive", "disabled")
    node.unit("b.service")
    node.unit("c.service", "inactive", "masked", "masked")
    node.unit("d.service", "activating", "enabled")
    wanted = {"enabled": True, "running": True}
    units = {
        "a.service": wanted,
        "b.service": {"enabled": False, "running": False},
        "c.service": wanted,
        "d.service": {"enabled": True},
    }
    inputs = node.inputs(units=units)
    engine = run_with(node.key)
    known = engine.create("Configuration", "n1-base", inputs)
    assert [call for call in node.calls() if "reset-failed" not in call] == [
        "systemctl -q enable -- a.service",
        "systemctl start -- a.service",
        "systemctl -q disable -- b.service",
        "systemctl stop -- b.service",
        "systemctl -q unmask -- c.service",
        "systemctl -q enable -- c.service",
        "systemctl start -- c.service",
    ]
    assert engine.diff(known, inputs) == []
    node.unit("a.service", "failed", "enabled", reload="yes")
    engine = run_with(node.key)
    assert engine.diff(known, inputs) == ['units["a.service"].running']
    assert engine.texts("INFO") == "n1: drifted: unit a.service (failed (x); unit file changed, not reloaded)"
    engine.update(known, inputs)
    assert node.calls()[0] == "systemctl daemon-reload"


def test_a_changed_file_restarts_its_unit_also_after_an_interruption(node: Node) -> None:
    node.unit("a.service")
    spec = {"a.service": {"restartOn": ["/etc/systemd/system/a.conf"], "enabled": True, "running": True}}
    inputs = node.inputs(units=spec, files={"/etc/systemd/system/a.conf": file("1\n")})
    engine = run_with(node.key)
    known = engine.create("Configuration", "n1-base", inputs)
    assert [call for call in node.calls() if "start" in call] == ["systemctl restart -- a.service"]

    # Ended between writing the file and restarting the unit.
    (node.server.programs / "systemctl").rename(node.folder / "systemctl")
    node.server.program("systemctl", '#!/bin/sh\n[ "$1" = show ] && exec "$STAND_IN/systemctl" "$@"\nexit 1\n')
    inputs["files"] = {"/etc/systemd/system/a.conf": file("2\n")}
    with pytest.raises(HostError):
        engine.update(known, inputs)
    (node.folder / "systemctl").rename(node.server.programs / "systemctl")
    known.inputs = engine.wait(engine.check_async("Configuration", "n1-base", inputs)).inputs
    node.calls()
    engine = run_with(node.key)
    assert engine.diff(known, inputs) == ['units["a.service"].running']
    assert engine.texts("INFO") == "n1: drifted: unit a.service (restart pending)"
    engine.update(known, inputs)
    assert [call for call in node.calls() if "start" in call] == ["systemctl restart -- a.service"]
    assert engine.diff(known, inputs) == []


def test_a_unit_that_dies_or_is_not_there_is_an_error(node: Node) -> None:
    node.unit("a.service", "inactive")
    node.write("dies", "")
    wanted = {"enabled": True, "running": True}
    with pytest.raises(HostError, match=r"n1: a.service stopped right after its start"):
        run_with(node.key).create("Configuration", "n1-base", node.inputs(units={"a.service": wanted}))
    with pytest.raises(HostError, match=r"n1: cannot enable none.service"):
        run_with(node.key).create("Configuration", "n1-base", node.inputs(units={"none.service": wanted}))


def test_sysctls_are_set_and_kept_over_a_reboot(node: Node) -> None:
    current = Path("/proc/sys/kernel/ostype").read_text().strip()
    inputs = node.inputs(sysctls={"kernel.ostype": current, "kernel.osrelease": "other"})
    engine = run_with(node.key)
    known = engine.create("Configuration", "n1-base", inputs)
    assert node.calls() == ["sysctl -qw -- kernel.osrelease=other"]
    kept = node.path("/etc/sysctl.d/60-base.conf")
    assert kept.read_text().splitlines()[1:] == ["kernel.osrelease = other", f"kernel.ostype = {current}"]
    engine = run_with(node.key)
    assert engine.diff(known, inputs) == ['sysctls["kernel.osrelease"]']
    release = Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert engine.texts("INFO") == f"n1: drifted: sysctl kernel.osrelease ({release}, wanted other)"
    node.server.inside("rm /etc/sysctl.d/60-base.conf")
    inputs["sysctls"] = {"kernel.ostype": current}
    known = engine.update(known, inputs)
    assert engine.diff(known, inputs) == []
    node.server.inside("rm /etc/sysctl.d/60-base.conf")
    engine = run_with(node.key)
    assert engine.diff(known, inputs) == ["sysctls"]
    assert engine.texts("INFO") == "n1: drifted: file /etc/sysctl.d/60-base.conf (missing)"
    with pytest.raises(HostError, match=r"(?s)n1: sysctl: permission denied.*cannot set kernel.pid_max to '1'"):
        engine.update(known, node.inputs(sysctls={"kernel.pid_max": "1"}))
