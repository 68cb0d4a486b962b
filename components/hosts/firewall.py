"""The packet filter of one node: nftables rules as text, and what brings them into force without locking anybody out.

A table of its own with nothing but an input hook: kube-proxy, Flannel and network policies keep theirs, and what is forwarded
to pods never comes by here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, collapse_addresses

from components.hosts.confirmed import confirmed_script, installed, installed_file
from components.hosts.openings import Opening, openings
from components.settings import Node, Settings
from host.resources import File, Script, Unit

SCRIPT = "components/hosts/scripts/firewall.sh"
INSTALLED = installed(SCRIPT)
RULES = "/etc/qwen3-vl/firewall.nft"
KEPT = "/var/lib/qwen3-vl/firewall.nft"  # the script puts confirmed rules there
UNIT, UNDO_UNIT = "qwen3-vl-firewall.service", "qwen3-vl-firewall-undo.service"
TABLE = "inet qwen3_vl"
VRRP, ICMP, ICMPV6 = 112, 1, 58  # by number: names of protocols are a package of their own

# Before the network: at no moment of a boot is anything open that should not be.
BOOT = f"""\
[Unit]
Description=Packet filter of the Qwen3-VL stack
DefaultDependencies=no
RequiresMountsFor={KEPT}
ConditionPathExists={KEPT}
After=systemd-modules-load.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {KEPT}

[Install]
WantedBy=sysinit.target
"""
UNDO = f"""\
[Unit]
Description=Take back packet filter rules that nobody confirmed

[Service]
Type=oneshot
ExecStart={INSTALLED} revert
"""


def firewall_files(rules: str) -> dict[str, File]:
    """Files by path."""
    return installed_file(SCRIPT) | {
        RULES: File(content=rules, mode="0600"),
        f"/etc/systemd/system/{UNIT}": File(content=BOOT),
        f"/etc/systemd/system/{UNDO_UNIT}": File(content=UNDO),
    }


def firewall_units() -> dict[str, Unit]:
    """For the next boot; the script does it now."""
    return {UNIT: Unit(running=None)}


def firewall_script(*, on: bool) -> Script:
    return confirmed_script(SCRIPT, "FIREWALL", on=on)


def ruleset(settings: Settings, node: Node) -> str:
    """The file for `nft -f`: in one step the table is as written here, whatever it was before."""
    rows = openings(settings, node)
    # Where a port is open to anybody, saying who else comes there means nothing.
    anywhere = {(row.protocol, row.ports) for row in rows if row.networks is None}
    rows = tuple(row for row in rows if row.networks is None or (row.protocol, row.ports) not in anywhere)
    lines = [*_sets(rows), *_chain(rows)]
    body = "".join(f"  {line}\n" if line else "\n" for line in lines)
    return f"# Written by Pulumi.\ntable {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n{body}}}\n"


def _sets(rows: Iterable[Opening]) -> Iterator[str]:
    named = {row.source.value: row.networks for row in rows if row.networks is not None and row.source.value != "extra"}
    for name, networks in named.items():
        yield f"set {name} {{"
        yield "  type ipv4_addr; flags interval"
        yield f"  elements = {{ {_listed(networks)} }}"
        yield "}"
        yield ""


def _chain(rows: Iterable[Opening]) -> Iterator[str]:
    yield "chain input {"
    yield "  type filter hook input priority filter; policy drop;"
    yield "  ct state established,related accept"
    yield '  iif "lo" accept'
    yield f'  meta l4proto {{ {ICMP}, {ICMPV6} }} accept comment "ICMP"'
    yield '  udp sport 67 udp dport 68 accept comment "DHCP"'
    yield '  ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment "DHCPv6"'
    for row in rows:
        yield f"  {_rule(row)}"
    yield '  counter comment "dropped"'
    yield "}"


def _rule(row: Opening) -> str:
    source = _from(row)
    if row.protocol == "vrrp":
        match = f"ip protocol {VRRP}"
    else:
        ports = ", ".join(map(str, row.ports))
        match = f"{row.protocol} dport {{ {ports} }}" if len(row.ports) > 1 else f"{row.protocol} dport {ports}"
    return f'{source}{match} accept comment "{row.purpose}"'


def _from(row: Opening) -> str:
    if row.networks is None:
        return ""
    return f"ip saddr {{ {_listed(row.networks)} }} " if row.source.value == "extra" else f"ip saddr @{row.source} "


def _listed(networks: Iterable[IPv4Network]) -> str:
    """Ordered, and without what lies in another: the kernel refuses intervals that overlap."""
    plain = (
        str(network.network_address) if network.prefixlen == 32 else str(network)
        for network in collapse_addresses(networks)
    )
    return ", ".join(plain)
