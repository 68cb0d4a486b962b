"""The host provider under the real engine, against a real sshd: what an operator does and sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Program
from tests.support.ssh_server import SshServer, make_key

pytestmark = pytest.mark.engine

PROGRAM = """
import signal
import pulumi
from host import Configuration, ConfigurationArgs, Connection, Facts, File, Gate, HostProvider, Script

signal.signal(signal.SIGINT, signal.SIG_DFL)
secrets = pulumi.Config()
ssh = HostProvider("ssh", private_key=secrets.require_secret("key"), known_hosts=config["known_hosts"], connect_timeout_seconds=2)
on = pulumi.ResourceOptions(provider=ssh)
for node, port in config["nodes"].items():
    here = Connection(node=node, address="127.0.0.1", port=port)
    facts = Facts(f"{node}-facts", here, on)
    folder = f"{config['folder']}/{node}"
    Gate(f"{node}-gate", facts.facts.apply(lambda facts: config["findings"]), [], on)
    done = Configuration(
        f"{node}-base",
        ConfigurationArgs(
            connection=here,
            files={
                f"{folder}/plain.conf": File(content=config["text"]),
                f"{folder}/secret.conf": File(content=secrets.require_secret("word"), secret=True, mode="0600"),
            },
            scripts=(
                Script(
                    path=f"tests/engine/scripts/{config['script']}.sh",
                    environment={"MARKER": f"{folder}/marker"},
                    stdin=secrets.require_secret("word"),
                ),
            ),
            removal=(Script(path="tests/engine/scripts/remove_marker.sh", environment={"MARKER": f"{folder}/marker"}),),
        ),
        on,
    )
    pulumi.export(f"{node}-applied", done.applied)
    pulumi.export(f"{node}-cpus", facts.facts.apply(lambda facts: facts["cpus"]))
"""
WORD = "canary-0c2d9"


class Operator:
    """One program, one server, one node (more by editing `program.config`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = make_key(root / "id")
        self.server = SshServer(root / "sshd", self.key).start()
        self.known_hosts = root / "known_hosts"
        self.known_hosts.write_text(self.server.known_hosts_line())
        self.folder = root / "node"
        for node in ("n1", "n2"):
            (self.folder / node).mkdir(parents=True)
        config = {
            "known_hosts": str(self.known_hosts),
            "nodes": {"n1": self.server.port},
            "folder": str(self.folder),
            "findings": [],
            "text": "one\n",
            "script": "make_marker",
        }
        self.program = Program(root / "program", PROGRAM, config)
        self.set_secret("key", self.key.read_text())
        self.set_secret("word", WORD)

    def set_secret(self, name: str, value: str) -> None:
        self.program.run("config", "set", "--secret", name, "--stack", "test", check=True, stdin=value)

    def file(self, name: str, node: str = "n1") -> Path:
        return self.folder / node / name

    def no_changes(self) -> str:
        return self.program.preview("--expect-no-changes").output


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    made = Operator(tmp_path)
    yield made
    made.server.stop()


def test_up_drift_refresh_update_destroy(operator: Operator) -> None:
    program, server = operator.program, operator.server
    program.up()
    assert server.connections() == 1
    assert operator.file("plain.conf").read_text() == "one\n"
    assert operator.file("secret.conf").read_text() == WORD
    assert operator.file("marker").read_text() == f"{len(WORD)}\n"
    assert program.outputs()["n1-cpus"] == len(os.sched_getaffinity(0))

    server.clear_log()
    operator.no_changes()
    assert (server.connections(), server.sessions()) == (1, 2)  # one look at the facts, one at everything else

    operator.file("plain.conf").write_text("by hand\n")
    operator.file("secret.conf").chmod(0o644)
    drifted = program.preview("--json").output
    steps = [step for step in json.loads(drifted[drifted.index("{") :])["steps"] if step["op"] != "same"]
    assert [(step["op"], step["urn"].rpartition("::")[2]) for step in steps] == [("update", "n1-base")]
    path = operator.file("plain.conf")
    assert f'files["{path}"].content' in steps[0]["detailedDiff"]
    shown = program.preview().output
    assert f"n1: drifted: file {path} (other content)" in shown
    assert f"n1: drifted: file {operator.file('secret.conf')} (mode 0644, wanted 0600)" in shown
    assert shown.count("drifted:") == 2

    assert f"file {path} (other content)" in program.run("refresh", "--yes", "--stack", "test", check=True).output
    assert json.dumps(f"file {path} (other content)") in program.state()
    program.up()
    assert path.read_text() == "one\n"
    operator.no_changes()

    before = program.outputs()["n1-applied"]
    program.config["text"] = "two\n"
    server.clear_log()
    program.run("up", "--yes", "--stack", "test", check=True)
    assert server.connections() == 2  # the engine starts the provider once for the preview and once for the update
    assert path.read_text() == "two\n"
    assert program.outputs()["n1-applied"] != before
    operator.no_changes()

    program.destroy()
    assert not operator.file("marker").exists()


def test_no_secret_in_state_output_or_process_list(operator: Operator) -> None:
    program = operator.program
    private = operator.key.read_text().splitlines()[1]
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for entry in Path("/proc").glob("[0-9]*"):
                try:
                    seen.append((entry / "cmdline").read_bytes().decode(errors="replace"))
                except OSError:
                    continue
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        shown = program.up("--diff").output
        operator.file("secret.conf").write_text("other")
        shown += program.preview().output + program.preview("--json").output
        program.config["script"] = "show_and_fail"
        operator.file("marker").unlink()
        failed = program.up("--diff", check=False)
    finally:
        stop.set()
        watcher.join()
    assert failed.status != 0
    assert "n1: tests/engine/scripts/show_and_fail.sh apply failed (exit 7): cannot use [secret]" in failed.output
    for where in (shown, failed.output, program.state(), "\n".join(seen), operator.server.log()):
        assert WORD not in where
        assert private not in where
    assert any("make_marker.sh" in line for line in seen)  # the watcher saw what it had to see


def test_a_wrong_host_key_is_one_clear_message(operator: Operator) -> None:
    other = make_key(operator.root / "other")
    operator.known_hosts.write_text(
        operator.server.known_hosts_line().split(" ")[0] + " " + Path(f"{other}.pub").read_text()
    )
    done = operator.program.preview(check=False)
    assert done.status != 0
    assert "shows host key ssh-ed25519 SHA256:" in done.output
    assert "nothing was sent to it" in done.output
    assert "Traceback" not in done.output
    assert (operator.server.connections(), operator.server.log_in_attempts()) == (1, 0)


def test_a_key_that_is_no_key_is_one_clear_message(operator: Operator) -> None:
    operator.set_secret("key", "canary-no-key")
    done = operator.program.preview(check=False)
    assert done.status != 0
    assert "sshPrivateKey: not a private key of type ed25519, ecdsa or rsa" in done.output
    assert "Traceback" not in done.output
    assert "canary" not in done.output
    assert operator.server.connections() == 0


def test_a_node_that_is_away_hinders_nobody(operator: Operator) -> None:
    program = operator.program
    with SshServer(operator.root / "sshd2", operator.key) as second:
        with operator.known_hosts.open("a") as known:
            known.write(second.known_hosts_line())
        program.config["nodes"]["n2"] = second.port
        program.up()
    operator.file("plain.conf", "n2").write_text("by hand\n")
    shown = operator.no_changes()
    assert "n2: unknown: cannot connect to" in shown
    assert "n1: unknown" not in shown
    operator.file("plain.conf").unlink()
    shown = program.up().output
    assert operator.file("plain.conf").exists()
    assert "n2: unknown" in shown


def test_the_gate_shows_all_findings_and_nothing_is_changed(operator: Operator) -> None:
    operator.program.config["findings"] = [
        "n1: memory 1 GiB; 2 are needed. Add memory.",
        "n1: no time; it is needed. Start chrony.",
    ]
    done = operator.program.preview(check=False)
    assert done.status != 0
    assert all(finding in done.output for finding in operator.program.config["findings"]), str(done)
    assert "Traceback" not in done.output


def test_a_create_that_failed_half_way_is_finished_and_can_be_removed(operator: Operator) -> None:
    program = operator.program
    program.config["script"] = "show_and_fail"
    failed = program.up(check=False)
    assert failed.status != 0
    assert "Traceback" not in failed.output
    assert operator.file("plain.conf").exists()
    assert '"n1-base"' in program.state()
    program.config["script"] = "make_marker"
    program.up()
    assert operator.file("marker").exists()
    operator.no_changes()

    program.config["script"] = "show_and_fail"
    operator.file("marker").unlink()
    assert program.up(check=False).status != 0
    operator.file("marker").write_text("left over\n")
    program.destroy()
    assert not operator.file("marker").exists()


def test_killed_in_the_middle_the_next_up_finishes(operator: Operator) -> None:
    program = operator.program
    program.config["script"] = "make_marker_slowly"
    program.save()
    process = subprocess.Popen(
        ["pulumi", "--non-interactive", "up", "--yes", "--skip-preview", "--stack", "test"],
        cwd=program.folder,
        env=program.all_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    begun = operator.file("marker.begun")
    end = time.monotonic() + 120
    while not begun.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert begun.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    program.run("cancel", "--yes", "--stack", "test", check=True)
    program.up()
    assert operator.file("marker").exists()
    # The orphan held the node's lock until its end, so the two never worked at once.
    assert operator.file("marker.begun").read_text().split() == ["begin", "end"]
    operator.no_changes()
    end = time.monotonic() + 30
    while (left := plugins_of(program)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not left, "nobody ends the plugin of an engine that was killed, so it has to end by itself"


def plugins_of(program: Program) -> list[int]:
    """Processes of the host provider that this program's engines have started."""
    mine = f"PULUMI_HOME={program.folder / 'home'}"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = ((process / part).read_text().split("\0") for part in ("cmdline", "environ"))
        except OSError:
            continue
        if "host.server" in command and mine in environment:
            found.append(int(process.name))
    return found


def test_changed_settings_of_the_provider_replace_nothing(operator: Operator) -> None:
    program = operator.program
    program.up()
    program.write(PROGRAM.replace("connect_timeout_seconds=2", "connect_timeout_seconds=3"))
    shown = program.preview("--json").output
    steps: list[Any] = json.loads(shown[shown.index("{") :])["steps"]
    assert {(step["op"], step["urn"].rpartition("::")[2]) for step in steps if step["op"] != "same"} == {
        ("update", "ssh")
    }
