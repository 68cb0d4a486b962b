"""Kubernetes objects of a graph as the rules look at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from tests.support.graph import Graph
from tests.support.manifests import Manifest, manifests

TEMPLATED = ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job")
REPLICATED = ("Deployment", "StatefulSet")


@cache
def objects(graph: Graph) -> tuple[Manifest, ...]:
    """All of them, rendered once for all rules."""
    return tuple(manifests(graph))


def of_kind(graph: Graph, *kinds: str) -> list[Manifest]:
    return [each for each in objects(graph) if each.kind in kinds and not is_patch(each)]


def is_patch(manifest: Manifest) -> bool:
    """A part of an object that somebody else made: what it does not name is not known here."""
    return manifest.resource.type.endswith("Patch")


def workloads(graph: Graph, *, patches: bool = False) -> list[Manifest]:
    """Everything that makes pods; `patches` are those of other people's workloads."""
    kinds = (*TEMPLATED, "CronJob", "Pod")
    return [each for each in objects(graph) if each.kind in kinds and (patches or not is_patch(each))]


def pod_spec(workload: Manifest) -> dict[str, Any]:
    if workload.kind == "Pod":
        return workload.spec
    found: dict[str, Any] = workload.pod["spec"]
    return found


def containers(workload: Manifest) -> list[dict[str, Any]]:
    spec = pod_spec(workload)
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind, ())]


def all_containers(graph: Graph) -> Iterator[tuple[Manifest, dict[str, Any]]]:
    for workload in workloads(graph):
        for container in containers(workload):
            yield workload, container


def security(container: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = container.get("securityContext") or {}
    return found


def effective(workload: Manifest, container: Mapping[str, Any], field: str) -> Any:
    """The container's own setting, else the pod's."""
    of_pod = pod_spec(workload).get("securityContext") or {}
    return security(container).get(field, of_pod.get(field))


def pod_labels(workload: Manifest) -> dict[str, str]:
    found: dict[str, str] = workload.pod["metadata"].get("labels", {})
    return found


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector of `matchLabels` means these labels; one without any means nothing here."""
    wanted = (selector or {}).get("matchLabels") or {}
    return bool(wanted) and wanted.items() <= labels.items()
