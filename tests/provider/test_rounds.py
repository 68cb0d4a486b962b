"""A script over several nodes in step, against real sshds: no round before the one before has ended on all, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from host.errors import HostError
from tests.provider.conftest import connection, run_with
from tests.support.ssh_server import SshServer

NAMES = ("n1", "n2", "n3")
VALUE = "canary-drawn-1"


class Nodes:
    """Three servers, each with a folder of its own at /mnt."""

    def __init__(self, root: Path, servers: dict[str, SshServer]) -> None:
        self.root, self.servers = root, servers

    def folder(self, name: str) -> Path:
        return self.root / name

    def inputs(self, **environment: str) -> dict[str, Any]:
        script = {
            "name": "agree",
            "path": "tests/provider/scripts/agree.sh",
            "environment": {"LOG": str(self.root / "log"), **environment},
            "deadlineSeconds": 60,
            "on": "node",
        }
        nodes = [connection(server, name) for name, server in self.servers.items()]
        return {"nodes": nodes, "script": script, "rounds": ["offer", "agree"]}

    def turns(self) -> list[str]:
        """Since the last call."""
        log = self.root / "log"
        found = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return found


WHOLE = [f"{name} {each}" for each in ("offer", "agree") for name in NAMES]


@pytest.fixture
def nodes(tmp_path: Path, key: Path) -> Iterator[Nodes]:
    servers = {}
    with ExitStack() as stack:
        for name in NAMES:
            (tmp_path / name / "lock").mkdir(parents=True)
            (tmp_path / name / "name").write_text(name)
            mounts = {"/mnt": str(tmp_path / name), "/run/lock": str(tmp_path / name / "lock")}
            servers[name] = stack.enter_context(SshServer(tmp_path / f"sshd-{name}", key, mounts=mounts))
        yield Nodes(tmp_path, servers)


def test_all_nodes_end_a_round_before_one_begins_the_next(nodes: Nodes, key: Path) -> None:
    preview = run_with(key)
    preview.create("Rounds", "agreement", nodes.inputs(), preview=True)
    assert nodes.turns() == []
    engine = run_with(key)
    known = engine.create("Rounds", "agreement", nodes.inputs())
    assert nodes.turns() == WHOLE
    assert [(nodes.folder(name) / "agreed").read_text() for name in NAMES] == [f"{VALUE}\n"] * 3
    assert "canary" not in "\n".join(text for _, text in engine.messages)
    later = run_with(key)
    assert later.diff(known) == []
    later.update(known, nodes.inputs())
    later.delete(known)
    assert nodes.turns() == [], "what is settled is left alone"


def test_a_node_that_drifted_is_named_and_all_take_part_again(nodes: Nodes, key: Path) -> None:
    known = run_with(key).create("Rounds", "agreement", nodes.inputs())
    nodes.turns()
    (nodes.folder("n2") / "agreed").unlink()
    engine = run_with(key)
    assert engine.diff(known) == ["settled"]
    assert engine.texts("INFO") == "n2: drifted: script agree (not agreed)"
    engine.update(known, nodes.inputs())
    assert nodes.turns() == WHOLE


def test_nothing_is_begun_while_a_node_is_away(nodes: Nodes, key: Path) -> None:
    nodes.servers["n3"].stop()
    with pytest.raises(HostError, match=r"all of n1, n2, n3 have to take part; nothing was changed\. n3: cannot"):
        run_with(key).create("Rounds", "agreement", nodes.inputs())
    assert nodes.turns() == []


def test_a_node_that_is_away_plans_nothing_and_holds_up_nobody_who_is_done(nodes: Nodes, key: Path) -> None:
    known = run_with(key).create("Rounds", "agreement", nodes.inputs())
    nodes.turns()
    nodes.servers["n1"].stop()
    engine = run_with(key)
    assert engine.diff(known) == []
    assert engine.texts("WARNING").startswith("n1: unknown: cannot connect to")
    adopting = run_with(key)
    adopting.create("Rounds", "agreement", nodes.inputs())
    assert adopting.texts("WARNING").startswith("n1: unknown: cannot connect to")
    assert nodes.turns() == []


def test_a_failed_round_ends_the_run_and_the_next_run_begins_with_the_first(nodes: Nodes, key: Path) -> None:
    (nodes.folder("n2") / "broken").touch()
    engine = run_with(key)
    with pytest.raises(HostError, match=r"n2: tests/provider/scripts/agree.sh agree failed \(exit 2\)") as caught:
        engine.create("Rounds", "agreement", nodes.inputs())
    assert VALUE not in engine.host.secrets.redact(str(caught.value))
    assert nodes.turns() == WHOLE[:5]
    (nodes.folder("n2") / "broken").unlink()
    run_with(key).create("Rounds", "agreement", nodes.inputs())
    assert nodes.turns() == WHOLE


def test_a_preview_without_contact_sees_a_changed_environment(nodes: Nodes, key: Path) -> None:
    known = run_with(key).create("Rounds", "agreement", nodes.inputs())
    assert run_with(key, contact="never").diff(known, nodes.inputs(GENERATION="2")) == ["script.environment"]
    with pytest.raises(HostError, match="contact is `never`"):
        run_with(key, contact="never").update(known, nodes.inputs())
