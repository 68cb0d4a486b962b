"""What pods open on the nodes themselves, against the nodes' packet filter."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.policy.findings import Finding, label
from tests.policy.objects import containers, pod_spec, workloads
from tests.support.graph import Graph

RULES_FILE = "/etc/qwen3-vl/firewall.nft"
PORTS = re.compile(r"(tcp|udp) dport (\d+|\{[\d, ]+\}) accept")


def opened(graph: Graph) -> set[tuple[str, int]]:
    """What any node lets in, read from the rules themselves."""
    texts = [
        str(resource.inputs["files"][RULES_FILE]["content"])
        for resource in graph.of_type("host:index:Configuration")
        if RULES_FILE in (resource.inputs.get("files") or {})
    ]
    found = [match for text in texts for match in PORTS.findall(text)]
    return {(protocol, int(port)) for protocol, ports in found for port in re.findall(r"\d+", ports)}


def ports_of_the_host_are_open_on_purpose(graph: Graph) -> Iterator[Finding]:
    """A port of a pod in the host's network, or a host port, is either let in by the filter or stays closed on purpose."""
    known = opened(graph)
    for workload in workloads(graph):
        on_host = bool(pod_spec(workload).get("hostNetwork"))
        for container in containers(workload):
            for port in container.get("ports") or ():
                number = port.get("hostPort") or (port["containerPort"] if on_host else None)
                protocol = port.get("protocol", "TCP").lower()
                if number is not None and (protocol, number) not in known:
                    yield Finding(
                        resource=label(workload.resource),
                        part=f"{protocol} {number}",
                        found="listens on the node, whose filter drops what comes there",
                        rule_says="components/hosts/openings.py opens what others need",
                        remedy="Add a row there, or an exception if nobody else is to come there",
                    )


RULES = (ports_of_the_host_are_open_on_purpose,)
