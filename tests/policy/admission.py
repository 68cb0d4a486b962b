"""What Pod Security `restricted` refuses (Kubernetes 1.34, "Pod Security Standards"), where a namespace enforces it.

An exception of the hardening rules is for pods of other namespaces: in such a one the API server would not make the pod.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.policy.objects import containers, effective, pod_spec, security, workloads
from tests.policy.pods import SHARED
from tests.policy.rights import ENFORCE, declared_namespaces
from tests.support.graph import Graph
from tests.support.manifests import Manifest

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def refused(graph: Graph) -> list[str]:
    """`<namespace>/<workload>: <reason>` of every pod that its namespace would refuse."""
    restricted = {
        each.name
        for each in declared_namespaces(graph)
        if (each.body["metadata"].get("labels") or {}).get(ENFORCE) == "restricted"
    }
    return [
        f"{workload.namespace}/{workload.name}: {reason}"
        for workload in workloads(graph)
        if workload.namespace in restricted
        for reason in reasons(workload)
    ]


def reasons(workload: Manifest) -> Iterator[str]:
    spec = pod_spec(workload)
    yield from (field for field in SHARED if spec.get(field))
    for volume in spec.get("volumes", ()):
        yield from (f"volume {kind}" for kind in set(volume) - {"name"} - VOLUMES)
    for container in containers(workload):
        own = security(container)
        capabilities = own.get("capabilities") or {}
        wrong = {
            "privileged": own.get("privileged"),
            "runAsNonRoot": effective(workload, container, "runAsNonRoot") is not True,
            "runAsUser": effective(workload, container, "runAsUser") == 0,
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
            "capabilities.drop": "ALL" not in (capabilities.get("drop") or ()),
            "capabilities.add": set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"},
            "seccompProfile": (effective(workload, container, "seccompProfile") or {}).get("type")
            not in ("RuntimeDefault", "Localhost"),
            "hostPort": any(port.get("hostPort") for port in container.get("ports", ())),
        }
        yield from (f"{container['name']} {field}" for field, broken in wrong.items() if broken)
