"""The packet filter on a node of its own network, with a real sshd, real nftables and a real kernel: nobody gets locked out."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from components.hosts.firewall import BOOT, firewall_files, firewall_script, ruleset
from components.settings import Settings
from host.errors import HostError
from tests.provider.conftest import connection, run_with
from tests.support.cluster import settings
from tests.support.provider import Engine, file
from tests.support.ssh_server import SshServer

PROGRAMS = Path(__file__).parent / "programs"
NUMBERS = itertools.count()
TABLE = "nft -s list table inet qwen3_vl"
CONFIRM, UNDO = 5, 300  # seconds
# Lets nothing through, not even what is established.
CLOSED = """\
table inet qwen3_vl
delete table inet qwen3_vl
table inet qwen3_vl {
  chain input {
    type filter hook input priority filter; policy drop;
    tcp dport 22 reject with tcp reset
  }
}
"""


class Node:
    """One machine at the other end of a cable, listening for SSH and on one port that nobody opens."""

    def __init__(self, root: Path, key: Path, number: int) -> None:
        self.root, self.key = root, key
        self.name = f"fw{os.getpid()}-{number}"[-15:]
        network = IPv4Network(
            (int(IPv4Network("198.18.0.0/15").network_address) + 4 * ((os.getpid() * 7 + number) % 2**14), 30)
        )
        self.here, self.there = (str(address) for address in network.hosts())
        self.listener: subprocess.Popen[bytes] | None = None
        self.stand_in = root / "stand-in"
        self.stand_in.mkdir()
        (root / "usr").mkdir()
        mounts = {
            "/etc": f"overlay {root}/etc",
            "/var/lib": f"overlay {root}/var",
            "/usr/local/lib": str(root / "usr"),
            "/run": f"overlay {root}/run",
        }
        self.server = SshServer(root / "sshd", key, address=self.there, port=22, mounts=mounts, network=self.name)
        for name in ("systemctl", "systemd-run"):
            shutil.copy(PROGRAMS / name, self.server.programs / name)
        config = self.server.folder / "sshd_config"
        config.write_text(config.read_text().replace("SetEnv PATH=", f"SetEnv STAND_IN={self.stand_in} PATH="))

    def start(self) -> None:
        for command in (
            f"netns add {self.name}",
            f"link add {self.name} type veth peer name eth0 netns {self.name}",
            f"address add {self.here}/30 dev {self.name}",
            f"link set {self.name} up",
            f"-n {self.name} address add {self.there}/30 dev eth0",
            f"-n {self.name} link set eth0 up",
            f"-n {self.name} link set lo up",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        self.server.start()
        listener = f"import socket, time; s = socket.create_server(('{self.there}', 9999)); time.sleep(3600)"
        self.listener = subprocess.Popen(["ip", "netns", "exec", self.name, sys.executable, "-c", listener])
        wait_for(lambda: self.takes(9999))

    def stop(self) -> None:
        if self.listener is not None:
            self.listener.kill()
            self.listener.wait()
        self.server.stop()
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    def takes(self, port: int) -> bool:
        """Whether a new connection to the port is taken."""
        try:
            with socket.create_connection((self.there, port), timeout=2):
                return True
        except OSError:
            return False

    def rules(self) -> str:
        """What is in force; nothing where there is no filter."""
        return self.server.inside(f"{TABLE} 2>/dev/null || true")

    def timers(self) -> list[str]:
        """What would still take a change back."""
        folder = self.stand_in / "timers"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def inputs(self, rules: str | None, confirm: int = CONFIRM, undo: int = UNDO) -> dict[str, Any]:
        """The configuration as the hosts layer makes it, with short times; no rules: the filter is off."""
        script = firewall_script(on=rules is not None).to_inputs()
        script["environment"]["UNDO_SECONDS"] = str(undo)
        if rules is not None:
            script["confirmSeconds"] = confirm
        files = firewall_files(rules) if rules is not None else {}
        return {
            "connection": connection(self.server),
            "files": {path: file(str(f.content), f.mode) for path, f in files.items()},
            "scripts": [script],
        }


def wait_for(condition: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.2)


@pytest.fixture
def node(tmp_path: Path, key: Path) -> Iterator[Node]:
    made = Node(tmp_path, key, next(NUMBERS))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def stack(node: Node, **firewall: Any) -> Settings:
    return settings({"firewall": {"operatorNetworks": [f"{node.here}/32"], **firewall}})


def right(node: Node, **firewall: Any) -> str:
    found = stack(node, **firewall)
    return ruleset(found, found.control_planes[0])


def wrong(node: Node) -> str:
    """Rules of somebody who forgot where he comes from."""
    return right(node, operatorNetworks=["192.0.2.0/24"])


def refused(engine: Engine, inputs: dict[str, Any]) -> str:
    with pytest.raises(HostError) as caught:
        engine.create("Configuration", "n1-base", inputs)
    return str(caught.value)


def test_right_rules_stay_and_close_what_nobody_needs(node: Node, key: Path) -> None:
    engine = run_with(key)
    known = engine.create("Configuration", "n1-base", node.inputs(right(node)))
    assert node.timers() == []
    assert "tcp dport 22 accept" in node.rules()
    assert node.takes(22)
    assert not node.takes(9999)
    assert engine.diff(known) == []
    again = run_with(key)
    again.create("Configuration", "n1-base", node.inputs(right(node)))
    assert "already as wanted" in again.texts("INFO")


def test_rules_that_shut_the_operator_out_are_taken_back_and_the_run_says_so(node: Node, key: Path) -> None:
    message = refused(run_with(key), node.inputs(wrong(node)))
    assert message.startswith(f"n1: nobody came through within {CONFIRM} s after components/hosts/scripts/firewall.sh")
    assert "The change was taken back. Correct the settings that let people in" in message
    assert node.rules() == ""
    assert node.takes(22)
    assert node.takes(9999)


def test_the_former_rules_come_back_not_none(node: Node, key: Path) -> None:
    run_with(key).create("Configuration", "n1-base", node.inputs(right(node)))
    before = node.rules()
    refused(run_with(key), node.inputs(wrong(node)))
    assert node.rules() == before
    assert node.takes(22)
    assert not node.takes(9999)


def test_a_node_that_lets_nothing_through_opens_by_itself(node: Node, key: Path) -> None:
    """The connection that was there carries nothing any more either."""
    message = refused(run_with(key), node.inputs(CLOSED, undo=12))
    assert "The node cannot be asked and takes the change back by itself" in message
    wait_for(lambda: node.takes(22))
    assert node.rules() == ""


def test_a_run_that_is_killed_in_the_middle_leaves_nobody_locked_out(node: Node, key: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            run_with(key).create("Configuration", "n1-base", node.inputs(wrong(node), confirm=60, undo=30))
        finally:
            os._exit(1)
    wait_for(lambda: node.rules() != "")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not node.takes(22)
    wait_for(lambda: node.takes(22))
    wait_for(lambda: node.rules() == "")
    run_with(key).create("Configuration", "n1-base", node.inputs(right(node)))
    assert node.takes(22)
    assert not node.takes(9999)


def test_a_killed_run_is_finished_by_the_next_one(node: Node, key: Path) -> None:
    """Right rules that were never confirmed are not trusted, nor is the old timer left to take the new ones away."""
    run_with(key).create("Configuration", "n1-base", node.inputs(right(node)))
    other = right(node, extraPorts=[{"port": 9999}])
    environment = "FIREWALL=on UNDO_SECONDS=300 STAND_IN=" + str(node.stand_in)
    node.server.inside("cat >/etc/qwen3-vl/firewall.nft", other)
    node.server.inside(
        f"{environment} PATH={node.server.programs}:$PATH bash /usr/local/lib/qwen3-vl/firewall.sh apply"
    )
    assert node.timers() == ["qwen3-vl-firewall-undo.timer"]
    engine = run_with(key)
    known = engine.create("Configuration", "n1-base", node.inputs(other))
    assert node.timers() == []
    assert node.takes(9999)
    assert engine.diff(known) == []


def test_names_of_protocols_that_come_later_are_no_change(node: Node, key: Path) -> None:
    """As with the package netbase, which a node's later packages bring; nft prints names as soon as it knows them."""
    node.server.inside("mv /etc/protocols /etc/protocols.later")
    known = run_with(key).create("Configuration", "n1-base", node.inputs(right(node)))
    node.server.inside("mv /etc/protocols.later /etc/protocols")
    assert run_with(key).diff(known) == []


def test_what_was_changed_by_hand_is_named_and_mended(node: Node, key: Path) -> None:
    engine = run_with(key)
    known = engine.create("Configuration", "n1-base", node.inputs(right(node)))
    node.server.inside("nft insert rule inet qwen3_vl input tcp dport 9999 accept")
    assert node.takes(9999)
    assert engine.diff(known) == ["scripts[0].sha256"]
    assert "the rules in force were changed by hand" in engine.texts("INFO")
    engine.update(known, node.inputs(right(node)))
    assert not node.takes(9999)


def test_rules_that_nft_refuses_change_nothing(node: Node, key: Path) -> None:
    run_with(key).create("Configuration", "n1-base", node.inputs(right(node)))
    before = node.rules()
    message = refused(run_with(key), node.inputs(right(node).replace("dport 22", "dport nowhere")))
    assert "nft refuses /etc/qwen3-vl/firewall.nft" in message
    assert node.rules() == before


def test_a_boot_loads_confirmed_rules_only(node: Node, key: Path) -> None:
    run_with(key).create("Configuration", "n1-base", node.inputs(right(node)))
    before = node.rules()
    node.server.inside("cat >/etc/qwen3-vl/firewall.nft", CLOSED)
    node.server.inside("nft flush ruleset")
    (start,) = (line.removeprefix("ExecStart=") for line in BOOT.splitlines() if line.startswith("ExecStart="))
    node.server.inside(start)
    assert node.rules() == before


def test_other_tables_are_not_touched_and_off_takes_the_filter_away(node: Node, key: Path) -> None:
    other = "table ip kube-proxy {\n\tchain services {\n\t}\n}\n"
    node.server.inside("nft -f -", other)
    engine = run_with(key)
    known = engine.create("Configuration", "n1-base", node.inputs(right(node)))
    assert node.server.inside("nft list table ip kube-proxy") == other
    known = engine.update(known, node.inputs(None))
    assert node.rules() == ""
    assert node.server.inside("nft list table ip kube-proxy") == other
    assert node.takes(9999)
    assert engine.diff(known) == []
    assert node.server.inside("ls /etc/qwen3-vl /var/lib/qwen3-vl") == "/etc/qwen3-vl:\n\n/var/lib/qwen3-vl:\n"
