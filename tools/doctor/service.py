"""Judgements about what users get: replicas, GPUs, model, sessions, gateway, alerts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from components import traffic
from components.hosts.facts import OperatingSystem
from components.hosts.nvidia_packages import driver_version
from components.settings import Settings
from tools.doctor.nodes import CERTIFICATE_DAYS, DAY
from tools.doctor.row import Problem, Row, Status, row, unknown
from tools.doctor.seen import Cluster, Node, Seen, Served, Workload, mapping, whole

# Namespace and name; workloads are called as their pods' label says.
WEBUI, GATEWAY, REDIS = ((each.namespace, each.app) for each in (traffic.WEBUI, traffic.TRAEFIK, traffic.REDIS))
SCALER = "qwen3-vl-hpa"
ACME_DAYS = 14  # of ninety; its issuer renews a month before
TOLD_APART = {WEBUI, GATEWAY, REDIS}  # have rows of their own
_UP = re.compile(r'^haproxy_server_status\{(?=.*proxy="redis")(?=.*state="UP").*server="([^"]+)".*\} 1(\.0)?$')


def gpu_rows(seen: Seen) -> Iterator[Row]:
    members = seen.cluster.members if isinstance(seen.cluster, Cluster) else {}
    slices = seen.settings.gpu.time_slicing.replicas
    for machine in seen.settings.gpu_workers:
        node, member = seen.nodes[machine.name], members.get(machine.name)
        if isinstance(node, str):
            yield unknown("GPUs", machine.name, "node not reached")
            continue
        found = [tuple(part.strip() for part in line.split(",")) for (line, *_) in node.said.all("gpu")]
        problems = list(gpu_problems(node, found, machine.gpus, seen.settings))
        if member is not None and member.gpus < machine.gpus * slices:
            text = f"pods may have {member.gpus} of {machine.gpus * slices}; look at the log of its pod nvidia-device-plugin"
            problems.append(Problem("warning", text))
        drivers = sorted({each[0] for each in found})
        fine = f"{len(found)} of {machine.gpus}, driver {', '.join(drivers) or 'unknown'}"
        fine += f", {member.gpus} for pods" if member is not None else ""
        yield row("GPUs", machine.name, fine, problems, {"seen": len(found), "wanted": machine.gpus, "driver": drivers})


def gpu_problems(node: Node, found: list[tuple[str, ...]], wanted: int, settings: Settings) -> Iterator[Problem]:
    """`found`: driver version, UUID and, where the card counts them, uncorrectable errors of memory."""
    if failed := node.said.one("smi"):
        yield Problem("warning", f"nvidia-smi: {failed.strip()}")
    elif not found and settings.gpu.driver.owner == "operator":
        yield Problem("unknown", "no nvidia-smi on the node; the GPU operator has its own")
    elif len(found) < wanted:
        yield Problem("warning", f"nvidia-smi shows {len(found)} of {wanted} GPUs")
    release = driver_version(settings.gpu.driver, operating_system(node))
    if settings.gpu.driver.owner == "program" and (other := {each[0] for each in found} - {release}):
        yield Problem("warning", f"driver {', '.join(sorted(other))}, wanted {release}; run `up`")
    for each in found:
        if len(each) > 2 and whole(each[2]):
            text = f"{each[2]} uncorrectable memory errors of {each[1]}; drain the node and reset the GPU"
            yield Problem("warning", text)
    for xid in (line for (line, *_) in node.said.all("xid")):
        yield Problem("warning", f"the driver reported within a day: {xid}")


def operating_system(node: Node) -> OperatingSystem:
    os = node.facts["os"]
    return OperatingSystem(id=os["id"], version_id=os["versionId"])


def model_rows(seen: Seen) -> Iterator[Row]:
    """What each worker's own copy is, by what its agent left on the disk."""
    pinned = seen.settings.model_store.revision
    model = seen.settings.inference.model.rpartition("/")[2]
    for machine in seen.settings.workers:
        node = seen.nodes[machine.name]
        if isinstance(node, str):
            yield unknown("model", machine.name, "node not reached")
            continue
        copy = mapping(node.said.one("copy"))
        there = sorted(name for (name, *_) in node.said.all("revision"))
        others = [name for name in there if name != pinned]
        problems = []
        if pinned not in there:
            told = str(copy.get("message") or "its agent has not begun")
            problems.append(Problem("warning", f"revision {pinned} is not whole here ({share(copy)}): {told}"))
        elif copy and copy.get("revision") != pinned:
            problems.append(Problem("warning", f"its agent keeps revision {copy.get('revision')}, wanted {pinned}"))
        fine = f"{model} {pinned}" if pinned in there else ""
        fine += f"{', ' if fine else ''}beside it {', '.join(others)}" if others else ""
        yield row("model", machine.name, fine, problems, {"revisions": there, "pinned": pinned})


def share(copy: dict[str, Any]) -> str:
    have, whole_ = whole(str(copy.get("bytes", 0))), whole(str(copy.get("of_bytes", 0)))
    return f"{have / whole_:.0%}" if whole_ else "nothing yet"


def replica_rows(seen: Seen) -> Iterator[Row]:
    cluster = seen.cluster
    subjects = ("web UI and engine", "gateways", "other workloads")
    if isinstance(cluster, str):
        yield from (unknown(about, "", cluster) for about in subjects)
        return
    scaler = next((each[2:6] for each in cluster.said.all("hpa", 6) if each[1] == SCALER), None)
    webui = workload_row("web UI and engine", cluster.workload(*WEBUI))
    if scaler is not None:
        fewest, most, current, wanted = map(whole, scaler)
        webui = Row(webui.about, "", webui.status, f"{webui.text}, scaled {fewest} to {most}, now {current}, wants {wanted}",
                    webui.values | {"min": fewest, "max": most, "current": current, "desired": wanted})  # fmt: skip
    yield webui
    yield workload_row("gateways", cluster.workload(*GATEWAY))
    others = [each for each in cluster.workloads if (each.namespace, each.name) not in TOLD_APART]
    short = [
        Problem("warning", f"{each.namespace}/{each.name} {each.ready} of {each.wanted} ready")
        for each in others
        if each.ready < each.wanted
    ]
    yield row("other workloads", "", f"{len(others) - len(short)} of {len(others)} as wanted", short)


def workload_row(about: str, found: Workload | None) -> Row:
    if found is None:
        return row(about, "", "", [Problem("critical", "not in the cluster; run `up`")])
    problems = []
    if found.ready < found.wanted:
        remedy = f"look at `kubectl -n {found.namespace} describe pod -l app={found.name}`"
        status: Status = "warning" if found.ready else "critical"
        problems.append(Problem(status, f"{found.wanted - found.ready} of {found.wanted} are not ready; {remedy}"))
    fine = f"{found.ready} of {found.wanted} ready"
    return row(about, "", fine, problems, {"ready": found.ready, "wanted": found.wanted})


def redis_row(seen: Seen) -> Row:
    if isinstance(seen.cluster, str):
        return unknown("Redis", "", seen.cluster)
    found = seen.cluster.workload(*REDIS)
    base = workload_row("Redis", found)
    if seen.settings.redis_replicas < 2 or base.status == "critical":
        return base
    pages = seen.redis.by_key
    primaries = {match[1] for lines in pages.values() for (line, *_) in lines if (match := _UP.match(line))}
    status: Status
    if not any(line.startswith("haproxy_") for lines in pages.values() for (line, *_) in lines):
        status, text = "unknown", "no proxy could be asked who the primary is"
    elif not primaries:
        status, text = "critical", "no proxy knows a primary: chats are not kept. Look at the Sentinels' logs"
    elif len(primaries) > 1:
        status, text = "warning", f"proxies lead to {' and '.join(sorted(primaries))}; a fail-over may be under way"
    else:
        primary = primaries.pop()
        return Row("Redis", "", base.status, f"{base.text}, primary {primary}", base.values | {"primary": primary})
    problems = [Problem(status, text)]
    if base.status == "warning":
        problems.append(Problem("warning", base.text))
    return row("Redis", "", base.text if base.status == "ok" else "", problems, base.values)


def gateway_row(seen: Seen) -> Row:
    """The page and the certificate, as a client gets them; from a control plane, where this machine has no way there."""
    cluster, served, ingress = seen.cluster, seen.served, seen.settings.ingress
    address = cluster.address if isinstance(cluster, Cluster) else str(ingress.address or "")
    holder = cluster.announcer(*GATEWAY) if isinstance(cluster, Cluster) else ""
    where = f"{ingress.host} at {address or 'no address'}" + (f" on {holder}" if holder else "")
    values: dict[str, Any] = {"address": address, "holder": holder}
    problems = []
    if isinstance(cluster, Cluster) and not address:
        problems.append(Problem("critical", "its Service has no address; look at MetalLB's controller"))
    if isinstance(served, str):
        inside = (
            cluster.said.pairs("gateway").get("https" if ingress.tls.on else "http", "")
            if isinstance(cluster, Cluster)
            else ""
        )
        if inside.isdigit() and 0 < whole(inside) < 500:
            near = f"answers {inside} in the nodes' network"
            # Behind a bastion that is all that can be seen.
            if seen.settings.ssh.jump is None:
                problems.append(Problem("unknown", f"not reached from here: {served}"))
            where += f" {near}"
        elif inside:
            problems.append(Problem("critical", f"nobody answers, neither here ({served}) nor in the nodes' network"))
        else:
            problems.append(Problem("unknown", f"not reached: {served}"))
        return row("gateway", "", where, problems, values)
    if served.status >= 500 or served.status == 404:
        problems.append(Problem("critical", "no replica serves the page"))
    fine = f"{where} answers {served.status}"
    if served.ends is not None:
        problems += list(certificate(served, seen))
        values["days"] = int((served.ends - seen.now) // DAY)
        fine += f", certificate for {values['days']} days" + ("" if served.verified else " (authority not at hand)")
    return row("gateway", "", fine, problems, values)


def certificate(served: Served, seen: Seen) -> Iterator[Problem]:
    left = ((served.ends or 0) - seen.now) / DAY
    few = ACME_DAYS if seen.settings.ingress.tls.kind == "acme" else CERTIFICATE_DAYS
    if left <= 0:
        yield Problem("critical", "its certificate has ended; see docs/security.md, TLS at the gateway")
    elif left < few:
        yield Problem("warning", f"its certificate ends in {left:.0f} days; see docs/security.md, TLS at the gateway")
    if served.objection and left > 0:
        yield Problem("warning", f"clients do not believe its certificate: {served.objection}")


def alert_row(seen: Seen) -> Row:
    """What Prometheus holds for true; `none` is the severity of one that always fires, to show that alerts work."""
    if not seen.settings.observability.enabled:
        return row("alerts", "", "no Prometheus: observability is off by the settings", ())
    answer = mapping(seen.alerts)
    if answer.get("status") != "success":
        return unknown("alerts", "", seen.no_alerts or "Prometheus gave no list of alerts")
    all_ = [each for each in answer["data"]["alerts"] if each["labels"].get("severity") != "none"]
    firing = [each for each in all_ if each["state"] == "firing"]
    problems = [
        Problem("critical" if each["labels"].get("severity") == "critical" else "warning", alert_text(each))
        for each in firing
    ]
    pending = len(all_) - len(firing)
    fine = f"{len(firing) or 'none'} firing" + (f", {pending} about to" if pending else "")
    return row("alerts", "", fine, problems, {"firing": [each["labels"].get("alertname") for each in firing]})


def alert_text(alert: dict[str, Any]) -> str:
    name = alert["labels"].get("alertname", "an alert")
    return f"{name}: {alert.get('annotations', {}).get('summary', '')} (docs/runbooks/{name}.md)"


def question_row(seen: Seen) -> Row | None:
    if seen.answer is None and seen.no_answer is None:
        return None
    if seen.answer is None:
        return row("question", "", "", [Problem("critical", f"not answered: {seen.no_answer}")])
    return row("question", "", f"answered: {seen.answer[:60]}", ())
