"""A real sshd on loopback and the provider logged in to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host import asking
from tests.support.provider import Engine
from tests.support.ssh_server import SshServer, make_key


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys") / "id")


@pytest.fixture
def server(tmp_path: Path, key: Path) -> Iterator[SshServer]:
    """A fresh server with an empty log, its /run and /etc/sysctl.d a scratch folder's."""
    mounts = {}
    for path in ("/etc/sysctl.d", "/run/lock"):
        scratch = tmp_path / path.strip("/").replace("/", "-")
        scratch.mkdir()
        mounts[path] = str(scratch)
    with SshServer(tmp_path / "sshd", key, mounts=mounts) as running:
        yield running


def connection(server: SshServer, node: str = "n1", **changes: Any) -> dict[str, Any]:
    """The `connection` input for this server, its host key given."""
    base = {
        "node": node,
        "address": server.address,
        "port": server.port,
        "user": "root",
        "hostKeys": [server.host_key()],
    }
    return base | changes


def run_with(key: Path, **config: Any) -> Engine:
    """One run of the engine that logs in with `key`."""
    return Engine({"privateKey": key.read_text(), "connectTimeoutSeconds": "3"} | config)


class ControlPlane:
    def __init__(self, root: Path, key: Path) -> None:
        self.server = SshServer(root / "sshd", key, mounts={"/etc": f"overlay {root}/etc"})
        self.conf = root / "etc/upper/kubernetes/admin.conf"

    def put(self, text: str | None) -> None:
        """Change what the node has."""
        command = (
            "mkdir -p /etc/kubernetes && cat >/etc/kubernetes/admin.conf"
            if text
            else "rm -f /etc/kubernetes/admin.conf"
        )
        self.server.inside(command, text or "")


@pytest.fixture
def control_plane(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    """A control plane that is asked often, and has no patience with nodes that are away."""
    monkeypatch.setattr(asking, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(asking, "AWAY_SECONDS", 0.5)
    made = ControlPlane(tmp_path, key)
    with made.server:
        made.put("a kubeconfig")
        yield made
