"""Each node scanned from another node and by a stranger: what listens answers exactly those whom the table of ports names."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address

import pytest

from components.hosts.openings import openings
from components.settings import Node, Settings
from components.settings.stack_file import stack_settings
from tests.support.lab import Lab
from tests.support.stack import Stack

STRANGER = IPv4Address("198.18.255.1")  # an address of this machine that is in no network of the lab
PATIENCE = 5  # seconds for a connection
# One line for each port that takes a connection.
SCAN = 'for port in {ports}; do timeout {patience} bash -c "</dev/tcp/{address}/$port" 2>/dev/null && echo $port & done; wait'


@pytest.fixture(scope="module")
def found() -> Settings:
    return stack_settings("lab")


@pytest.fixture(scope="module")
def stranger() -> Iterator[IPv4Address]:
    subprocess.run(["ip", "address", "add", f"{STRANGER}/32", "dev", "lo"], check=True)
    yield STRANGER
    subprocess.run(["ip", "address", "delete", f"{STRANGER}/32", "dev", "lo"], check=True)


def listening(lab: Lab, node: Node) -> set[int]:
    """TCP ports that take connections from others; all other ports cannot be open."""
    text = lab.shell(node.name, "ss -ltnH | awk '{print $4}'")
    places = [line.rpartition(":") for line in text.split()]
    return {int(port) for address, _, port in places if not address.startswith(("127.", "[::1]"))}


def let_in(found: Settings, node: Node, source: IPv4Address) -> set[int]:
    return {
        port
        for row in openings(found, node)
        if row.protocol == "tcp" and (row.networks is None or any(source in network for network in row.networks))
        for port in row.ports
    }


def takes(node: Node, port: int, source: IPv4Address | None = None) -> bool:
    try:
        with socket.create_connection((str(node.address), port), PATIENCE, (str(source), 0) if source else None):
            return True
    except OSError:
        return False


def test_a_stranger_reaches_what_is_open_to_anybody(
    stack: Stack, lab: Lab, found: Settings, stranger: IPv4Address
) -> None:
    for node in found.nodes:
        ports = listening(lab, node)
        with ThreadPoolExecutor(32) as threads:
            answers = threads.map(lambda port, node=node: (port, takes(node, port, stranger)), ports)
        reached = {port for port, answered in answers if answered}
        assert reached == ports & let_in(found, node, stranger), node.name
        assert reached, f"{node.name}: SSH at least"
        assert ports - reached, f"{node.name}: nothing listened that is closed, so nothing was shown"


def test_a_node_reaches_what_nodes_need(stack: Stack, lab: Lab, found: Settings) -> None:
    for node in found.nodes:
        other = found.workers[0] if node != found.workers[0] else found.workers[1]
        ports = listening(lab, node)
        scan = SCAN.format(ports=" ".join(map(str, sorted(ports))), patience=PATIENCE, address=node.address)
        reached = {int(line) for line in lab.shell(other.name, scan, check=False).split()}
        assert reached == ports & let_in(found, node, other.address), f"{node.name} from {other.name}"


def test_what_is_in_force_on_the_nodes_was_confirmed(stack: Stack, lab: Lab, found: Settings) -> None:
    """By the real systemd: no timer is left that would take it back, and the next boot loads it."""
    for node in found.nodes:
        lab.shell(node.name, "cmp /etc/qwen3-vl/firewall.nft /var/lib/qwen3-vl/firewall.nft")
        assert lab.shell(node.name, "systemctl list-timers --all --no-legend 'qwen3-vl-*'").strip() == ""
        assert lab.shell(node.name, "systemctl is-enabled qwen3-vl-firewall.service").strip() == "enabled"


@pytest.mark.chaos
def test_rules_that_nobody_confirms_are_taken_back_by_the_node(stack: Stack, lab: Lab, found: Settings) -> None:
    """As after a run that was killed between the change and the confirmation."""
    node = found.gpu_workers[0]
    before = lab.shell(node.name, "nft -s list table inet qwen3_vl")
    change = "sed -i 's/tcp dport 22 accept/tcp dport 22 drop/' /etc/qwen3-vl/firewall.nft"
    apply = "FIREWALL=on UNDO_SECONDS=30 /usr/local/lib/qwen3-vl/firewall.sh apply"
    # One session, because there is no second one.
    wait = "for _ in $(seq 240); do test -e /run/qwen3-vl/firewall.nft || exit 0; sleep 1; done; exit 1"
    with ThreadPoolExecutor(1) as threads:
        session = threads.submit(lab.shell, node.name, f"{change}; {apply}; {wait}", seconds=300)
        while takes(node, 22):
            assert not session.done(), "nobody was ever shut out"
        session.result()
    assert lab.shell(node.name, "nft -s list table inet qwen3_vl") == before
    stack.up().ok()
    lab.shell(node.name, "cmp /etc/qwen3-vl/firewall.nft /var/lib/qwen3-vl/firewall.nft")
