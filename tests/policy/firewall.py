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


def ports_in_the_hosts_network_are_open_on_purpose(graph: Graph) -> Iterator[Finding]:
    """Each is let in by the filter, or stays closed on purpose. A host port is forwarded, and the filter does not see it."""
    known = opened(graph)
    for workload in workloads(graph):
        if not pod_spec(workload).get("hostNetwork"):
            continue
        for container in containers(workload):
            for port in container.get("ports") or ():
                protocol, number = port.get("protocol", "TCP").lower(), int(port["containerPort"])
                if (protocol, number) not in known:
                    yield Finding(
                        resource=label(workload.resource),
                        part=f"{protocol} {number}",
                        found="listens on the node, whose filter drops what comes there",
                        rule_says="components/hosts/openings.py opens what others need",
                        remedy="Add a row there, or an exception if nobody else is to come there",
                    )


RULES = (ports_in_the_hosts_network_are_open_on_purpose,)
