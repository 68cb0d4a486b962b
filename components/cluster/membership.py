"""What joining and leaving have in common on control planes and workers."""

from __future__ import annotations

from collections.abc import Mapping

from components.settings import Kubernetes, Node
from host.resources import Script

SCRIPTS = "components/cluster/scripts"
DRAIN_SECONDS = 240  # how long a drain waits for disruption budgets before the node goes anyway


def environment(node: Node, api_host: str, kubernetes: Kubernetes) -> dict[str, str]:
    """What every membership script is told, on the node as on a peer."""
    return {
        "API_ENDPOINT": f"{api_host}:{kubernetes.api_port}",
        "NODE_ADDRESS": str(node.address),
        "NODE_NAME": node.name,
        "NODE_ROLE": str(node.role),
    }


def run_kubelet() -> Script:
    """kubelet stays enabled and running from the join on."""
    return Script(path=f"{SCRIPTS}/run_kubelet.sh", deadline_seconds=60)


def drain(environment: Mapping[str, str]) -> Script:
    """Move the pods away while the node still works."""
    return Script(
        path=f"{SCRIPTS}/drain_node.sh",
        environment={**environment, "DRAIN_SECONDS": str(DRAIN_SECONDS)},
        on="peer",
        deadline_seconds=DRAIN_SECONDS + 60,
    )


def reset(environment: Mapping[str, str]) -> Script:
    """Make the host forget the cluster."""
    return Script(path=f"{SCRIPTS}/reset_node.sh", environment=environment, deadline_seconds=300)


def delete(environment: Mapping[str, str]) -> Script:
    """Make the cluster forget the host."""
    return Script(path=f"{SCRIPTS}/delete_node.sh", environment=environment, on="peer", deadline_seconds=120)
