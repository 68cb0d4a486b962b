"""The table of open ports: the page and the rendered rules say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from components.hosts.firewall import ruleset
from components.hosts.open_ports import EXAMPLE, document
from components.hosts.openings import Source, openings
from components.settings.parse import parse
from tests.support.cluster import settings

ROOT = Path(__file__).resolve().parents[2]
RULE = re.compile(
    r"(?:ip saddr (\S+|\{.*?\}) )?(?:(tcp|udp) dport (\d+|\{[\d, ]+\})|ip protocol (112)) accept comment \"(.*)\""
)
# What every node takes beside the table.
COMMON = {"ct state established,related accept", 'iif "lo" accept', 'meta l4proto { 1, 58 } accept comment "ICMP"'}
DHCP = {"udp sport 67 udp dport 68", "ip6 saddr fe80::/10 udp sport 547 udp dport 546"}
OVERS: list[dict[str, Any]] = [
    {},
    {"firewall": {"operatorNetworks": ["10.0.0.0/8"], "extraPorts": [{"port": 9100, "networks": ["10.1.0.0/16"]}]}},
    {"modelStore": {"kind": "folder", "path": "/srv/models"}},
]

Row = tuple[str, str, frozenset[str] | None]


def listed(networks: Any) -> frozenset[str]:
    return frozenset(str(network).removesuffix("/32") for network in networks)


def rows_of(rules: str) -> set[Row]:
    """Protocol, port and networks (None: anywhere) of every rule, read from the text."""
    sets = {
        name: listed(each.split(", "))
        for name, each in re.findall(r"set (\w+) \{[^{]*elements = \{ (.*?) \}", rules, re.S)
    }
    rows: set[Row] = set()
    lines = [line.strip() for line in rules.partition("policy drop;\n")[2].splitlines()]
    for line in lines:
        if line in {*COMMON, "}", 'counter comment "dropped"'} or line.startswith(tuple(DHCP)):
            continue
        found = RULE.fullmatch(line)
        assert found, f"a rule that no row speaks of: {line}"
        source, protocol, ports, vrrp, _ = found.groups()
        networks = (
            None
            if source is None
            else sets[source[1:]]
            if source[0] == "@"
            else listed(source.strip("{} ").split(", "))
        )
        numbers = [vrrp] if vrrp else re.findall(r"\d+", ports)
        rows |= {("vrrp" if vrrp else protocol, number, networks) for number in numbers}
    return rows


@pytest.mark.parametrize("over", OVERS)
def test_the_rules_are_the_table(over: dict[str, Any]) -> None:
    found = settings(over)
    for node in found.nodes:
        wanted: set[Row] = set()
        for row in openings(found, node):
            ports = [str(port) for port in row.ports] or ["112"]
            wanted |= {(row.protocol, port, None if row.networks is None else listed(row.networks)) for port in ports}
        anywhere = {row[:2] for row in wanted if row[2] is None}
        assert rows_of(ruleset(found, node)) == {row for row in wanted if row[2] is None or row[:2] not in anywhere}


def test_nobody_but_operators_comes_from_anywhere() -> None:
    found = settings({"firewall": {"operatorNetworks": ["10.0.0.0/8"]}})
    assert not [row for node in found.nodes for row in openings(found, node) if row.networks is None]
    default = settings()
    assert {row.source for node in default.nodes for row in openings(default, node) if row.networks is None} == {
        Source.OPERATORS,
        Source.API_CLIENTS,
    }


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/open-ports.md").read_text() == document(parse(EXAMPLE)), "run `make docs`"
