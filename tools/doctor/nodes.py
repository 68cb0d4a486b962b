"""Judgements about machines: reached, ready, current, room, clock, certificates, packet filter, versions. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from components.hosts.preflight import CLOCK_ERROR_SECONDS, CLOCK_WARNING_SECONDS
from components.settings import Role, Settings
from tools.doctor.row import Problem, Row, row, unknown
from tools.doctor.seen import Cluster, Member, Node, Seen, number

# Pods are evicted from a threshold of free space on (kubelet's default); half as much again is time to do something.
EVICTION, TIMELY = "10%", 1.5
CERTIFICATE_DAYS = 30  # long before, `up` renews those of control planes, and kubelets their own
MOST_BEHIND = 3  # minors that a kubelet may be older than the API server; never newer (Kubernetes' version skew policy)
DAY = 86400
SHOWN = ("kubelet", "containerd", "kube-apiserver")
_UNITS = {"Ki": 1, "Mi": 1024, "Gi": 1024**2, "Ti": 1024**3}


def node_rows(seen: Seen) -> Iterator[Row]:
    offsets = [node.facts["clockOffsetSeconds"] for node in seen.reached.values()]
    middle = median(offsets) if offsets else 0.0
    members = seen.cluster.members if isinstance(seen.cluster, Cluster) else None
    for machine in seen.settings.nodes:
        node, member = seen.nodes[machine.name], (members or {}).get(machine.name)
        joins = machine.role is not Role.STORAGE and members is not None
        problems = list(membership(member)) if joins else []
        if isinstance(node, str):
            yield row("node", machine.name, "", [Problem("unknown", f"not reached: {node}"), *problems])
            continue
        skew = node.facts["clockOffsetSeconds"] - middle
        problems += [*waiting(node), *room(node, seen.settings), *stopped(node), *clock(skew)]
        yield row("node", machine.name, portrait(node, skew, member), problems, values(node, skew, member))


def membership(member: Member | None) -> Iterator[Problem]:
    if member is None:
        yield Problem("warning", "not in the cluster; run `up`")
        return
    if member.ready != "True":
        yield Problem("warning", "not Ready; look at `journalctl -u kubelet` there")
    if member.cordoned:
        yield Problem("warning", "takes no new pods; `kubectl uncordon` it once its maintenance is over")


def waiting(node: Node) -> Iterator[Problem]:
    if reboot := node.said.one("reboot").strip():
        yield Problem("warning", f"waits for a reboot ({reboot}); drain it first")


def room(node: Node, settings: Settings) -> Iterator[Problem]:
    if node.disk is None:
        yield Problem("unknown", "room on /var not told")
        return
    size, free = node.disk
    if free < TIMELY * threshold(settings, size):
        yield Problem("warning", f"/var has {free / size:.0%} left, and kubelet will evict pods; make room")


def threshold(settings: Settings, size: float) -> float:
    """Free space below which kubelet evicts pods, in KiB."""
    told = settings.kubernetes.kubelet.get("evictionHard", {}).get("nodefs.available", EVICTION)
    found = re.fullmatch(r"([0-9.]+)(%|[KMGT]i)", str(told))
    if found is None:
        return size / 10
    amount, unit = float(found[1]), found[2]
    return size * amount / 100 if unit == "%" else amount * _UNITS[unit]


def stopped(node: Node) -> Iterator[Problem]:
    for unit, state in node.said.pairs("unit").items():
        if state != "active":
            yield Problem("warning", f"{unit} is {state}; look at `journalctl -u {unit}` there")


def clock(skew: float) -> Iterator[Problem]:
    if abs(skew) > CLOCK_WARNING_SECONDS:
        text = f"its clock is {skew:+.1f} s off the others'; certificates and etcd need equal clocks"
        yield Problem("critical" if abs(skew) > CLOCK_ERROR_SECONDS else "warning", text)


def portrait(node: Node, skew: float, member: Member | None) -> str:
    os = node.facts["os"]
    parts = [f"{os['id']} {os['versionId']}", f"kernel {node.facts['kernel']}"]
    if member is not None:
        parts += [f"kubelet {member.kubelet}", *(["Ready"] if member.ready == "True" else [])]
    if node.disk is not None:
        parts.append(f"/var {node.disk[1] / node.disk[0]:.0%} free")
    return ", ".join([*parts, f"clock {skew:+.1f} s"])


def values(node: Node, skew: float, member: Member | None) -> dict[str, Any]:
    return {
        "os": node.facts["os"],
        "kernel": node.facts["kernel"],
        "rebootNeeded": bool(node.said.one("reboot")),
        "varFreeShare": round(node.disk[1] / node.disk[0], 3) if node.disk else None,
        "clockOffsetSeconds": round(skew, 2),
        "ready": member.ready == "True" if member else None,
        "kubelet": member.kubelet if member else None,
    }


def version_row(seen: Seen) -> Row:
    wanted = f"v{seen.settings.kubernetes.version}"
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    problems: list[Problem] = []
    joined = [machine.name for machine in seen.settings.nodes if machine.role is not Role.STORAGE]
    for name in joined:
        node = seen.reached.get(name)
        if node is None:
            continue
        for what, version in programs(node).items():
            found[what, version].append(name)
    for (what, version), names in sorted(found.items()):
        if what == "containerd" or version == wanted:
            continue
        why = f"wanted {wanted}"
        if what == "kubelet" and (apart := distance(version, wanted)) is not None and not 0 <= apart <= MOST_BEHIND:
            why += f"; a kubelet may be {MOST_BEHIND} minors older than the API server, never newer"
        problems.append(Problem("warning", f"{what} {version} on {', '.join(names)}, {why}"))
    if not found:
        return unknown("versions", "", "no node of the cluster was reached")
    fine = ", ".join(
        f"{what} {version} ({len(names)})" for (what, version), names in sorted(found.items()) if what in SHOWN
    )
    return row("versions", "", fine, problems, {f"{what} {version}": names for (what, version), names in found.items()})


def programs(node: Node) -> dict[str, str]:
    """Of kubelet, containerd, and what kubeadm runs beside its own release's version; etcd has one of its own."""
    versions = {each: node.said.one(each) for each in ("kubelet", "containerd")}
    for name, image in node.said.pairs("runs").items():
        if name.startswith("kube-"):
            versions[name] = image.partition("@")[0].rpartition(":")[2]
    return {what: version for what, version in versions.items() if version}


def distance(version: str, wanted: str) -> int | None:
    """Minors that `version` is older; negative: newer. None if that cannot be told."""
    minors = [re.match(r"v1\.(\d+)\.", text) for text in (wanted, version)]
    return int(minors[0][1]) - int(minors[1][1]) if minors[0] and minors[1] else None


def certificate_row(seen: Seen) -> Row:
    """Of control planes and kubelets; the gateway's is the service's."""
    ends = {
        (name, file): number(end) or 0.0
        for name, node in seen.reached.items()
        for file, end in node.said.pairs("certificate").items()
    }
    if not ends:
        return unknown("certificates", "", "no node that has any was reached")
    problems = [problem for where, end in ends.items() for problem in ending(where, end, seen.now)]
    (name, file), first = min(ends.items(), key=lambda each: each[1])
    days = int((first - seen.now) // DAY)
    fine = "" if problems else f"the first one ends in {days} days: {file} of {name}"
    return row("certificates", "", fine, problems, {"node": name, "file": file, "days": days})


def ending(where: tuple[str, str], end: float, now: float) -> Iterator[Problem]:
    name, file = where
    remedy = "look at kubelet there" if "kubelet" in file else "run `up`"
    if not end:
        yield Problem("warning", f"{file} of {name} cannot be read")
    elif end <= now:
        yield Problem("critical", f"{file} of {name} has ended; {remedy}")
    elif end - now < CERTIFICATE_DAYS * DAY:
        yield Problem("warning", f"{file} of {name} ends in {(end - now) / DAY:.0f} days; {remedy}")


def firewall_row(seen: Seen) -> Row:
    if not seen.settings.firewall.enabled:
        return row("packet filter", "", "off by the settings", ())
    told: Mapping[str, str] = {name: node.said.one("firewall") for name, node in seen.reached.items()}
    if not told:
        return unknown("packet filter", "", "no node was reached")
    bad = {name: text for name, text in told.items() if not text.startswith("unchanged: ")}
    problems = [
        Problem("warning" if text else "unknown", f"{name}: {text.strip() or 'not told'}; run `up`")
        for name, text in bad.items()
    ]
    return row("packet filter", "", f"confirmed on {len(told) - len(bad)} of {len(told)} nodes", problems)
