"""Judgements about the control plane: API servers and their address, etcd, its snapshots. Pure."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tools.doctor.row import Problem, Row, Status, row, unknown
from tools.doctor.seen import Node, Seen, mapping, whole
from tools.restore_etcd import moment

QUOTA_SHARE = 0.8  # of etcd's limit, at which it takes no more writes
DEFAULT_QUOTA = 2 << 30  # bytes; --quota-backend-bytes
HOUR = 3600


def api_row(seen: Seen) -> Row:
    """Each control plane's own server, and the address that clients use."""
    planes = {node.name: seen.reached.get(node.name) for node in seen.settings.control_planes}
    told = {name: node.said.pairs("api") for name, node in seen.reached.items()}
    if not told:
        return unknown("API", "", "no node was reached")
    ready = [name for name in planes if told.get(name, {}).get("own") == "200"]
    down = [name for name, node in planes.items() if node is not None and name not in ready]
    away = [name for name, node in planes.items() if node is None]
    problems = [
        Problem("warning", f"the API server of {name} is not ready; look at /var/log/pods there") for name in down
    ]
    if down and not ready and not away:
        problems = [Problem("critical", "no API server is ready")]
    address = seen.settings.api_host
    asking = {name: each["address"] for name, each in told.items() if "address" in each}
    reaching = [name for name, status in asking.items() if status == "200"]
    holders = [name for name, node in seen.reached.items() if node.said.one("holds")]
    if asking and not reaching:
        problems.append(Problem("critical" if not away else "warning", f"nobody answers at {address}"))
    elif len(reaching) < len(asking):
        cut = ", ".join(sorted(set(asking) - set(reaching)))
        problems.append(Problem("warning", f"{address} does not answer {cut}"))
    if len(holders) > 1:
        problems.append(
            Problem("warning", f"{address} is held by {' and '.join(holders)}; keepalived does not see its peers")
        )
    fine = f"{len(ready)} of {len(planes)} ready, {address} at {', '.join(holders) or 'an unreached node'}"
    return row("API", "", fine, problems, {"ready": ready, "address": address, "holder": holders})


def etcd_row(seen: Seen) -> Row:
    planes = [node.name for node in seen.settings.control_planes]
    answers = {name: etcd_of(seen.reached[name]) for name in planes if name in seen.reached}
    working = {name: each for name, each in answers.items() if whole(str(each["status"].get("leader", "")))}
    if not answers:
        return unknown("etcd", "", "no control plane was reached")
    if not working:
        why = next((each["failed"] for each in answers.values() if each["failed"]), "no leader")
        return row("etcd", "", "", [Problem("critical", f"no member serves: {why}. Look at the members' logs")])
    problems = [
        Problem("warning", f"the member of {name} does not serve ({each['failed'] or 'no leader'})")
        for name, each in answers.items()
        if name not in working
    ]
    # One that was cut off may lag; the list of the member that knows most is the cluster's.
    newest = max(working.values(), key=lambda each: whole(str(each["status"].get("raftTerm", ""))))
    members = {str(each.get("ID")): str(each.get("name", "")) for each in newest["members"]}
    problems += list(membership(planes, members))
    for alarm in newest["alarms"]:
        which = members.get(str(alarm.get("memberID")), "a member")
        problems.append(
            Problem("critical", f"alarm {alarm.get('alarm')} of {which}; etcd takes no writes until it is cleared")
        )
    sizes = {name: whole(str(each["status"].get("dbSize", ""))) for name, each in working.items()}
    most = max(sizes, key=lambda name: sizes[name])
    quota = whole(str(working[most]["status"].get("dbSizeQuota", ""))) or DEFAULT_QUOTA
    if sizes[most] > QUOTA_SHARE * quota:
        text = f"its database has {sizes[most] >> 20} of {quota >> 20} MiB on {most}; compact and defragment it"
        problems.append(Problem("warning", text))
    leader = members.get(str(newest["status"].get("leader")), "unknown")
    version = newest["status"].get("version")
    fine = f"{len(working)} of {len(planes)} members seen at work, leader {leader}, {sizes[most] >> 20} MiB, {version}"
    return row("etcd", "", fine, problems, {"members": sorted(members.values()), "leader": leader, "bytes": sizes})


def etcd_of(node: Node) -> dict[str, Any]:
    said = node.said.pairs("etcd")
    return {
        "status": mapping(said.get("status", "")),
        "members": mapping(said.get("members", "")).get("members", []),
        "alarms": mapping(said.get("alarms", "")).get("alarms", []),
        "failed": said.get("failed", ""),
    }


def membership(planes: list[str], members: dict[str, str]) -> Iterator[Problem]:
    if lacking := sorted(set(planes) - set(members.values())):
        yield Problem("warning", f"{', '.join(lacking)} is no member; run `up`")
    if strange := sorted({name or "one that never started" for name in members.values()} - set(planes)):
        yield Problem("warning", f"{', '.join(strange)} is a member and no control plane of the settings; run `up`")


def snapshot_row(seen: Seen) -> Row:
    """By their names: `etcd-<control plane>-<time>.cms`; how old the newest is, and how old the newest that is elsewhere too."""
    wanted = seen.settings.kubernetes.backup
    if not wanted.enabled:
        return row("snapshots", "", "off by the settings", ())
    places: defaultdict[str, set[str]] = defaultdict(set)
    for name, node in seen.reached.items():
        for snapshot, _ in (each[:2] for each in node.said.all("snapshot", 2)):
            places[snapshot].add(name)
    planes = [node.name for node in seen.settings.control_planes]
    keepers = {node.name for node in seen.settings.backup_keepers}
    if not any(name in seen.reached for name in (*planes, *keepers)):
        return unknown("snapshots", "", "no machine that keeps any was reached")
    if not places:
        status: Status = "critical" if all(name in seen.reached for name in (*planes, *keepers)) else "unknown"
        return row("snapshots", "", "", [Problem(status, "etcd was never saved, as far as is seen; run `up`")])
    late, problems = 2 * wanted.every_hours, []
    for plane in planes:
        own = [snapshot for snapshot in places if maker(snapshot) == plane]
        newest = max(own, key=moment, default="")
        elsewhere = max((each for each in own if places[each] - {plane}), key=moment, default="")
        if plane in seen.reached and (not own or age(newest, seen.now) > late):
            text = f"{plane}: {told(newest, seen.now)}; look at `systemctl status etcd-backup` there"
            problems.append(Problem("warning", text))
        elif plane in seen.reached and keepers - {plane} and (not elsewhere or age(elsewhere, seen.now) > late):
            problems.append(Problem("warning", f"{plane}: its copies elsewhere: {told(elsewhere, seen.now)}"))
    best = max(places, key=moment)
    fine = f"the newest {told(best, seen.now)}, on {', '.join(sorted(places[best]))}; {len(places)} in all"
    return row(
        "snapshots",
        "",
        fine,
        problems,
        {"newest": best, "hours": round(age(best, seen.now), 1), "kept": sorted(places[best])},
    )


def maker(snapshot: str) -> str:
    return snapshot.removeprefix("etcd-").rpartition("-")[0]


def age(snapshot: str, now: float) -> float:
    """In hours."""
    try:
        then = datetime.datetime.strptime(moment(snapshot), "%Y%m%dT%H%M%SZ.cms").replace(tzinfo=datetime.UTC)
    except ValueError:
        return float("inf")
    return (now - then.timestamp()) / HOUR


def told(snapshot: str, now: float) -> str:
    return f"is {max(0.0, age(snapshot, now)):.0f} h old" if snapshot else "there is none"
