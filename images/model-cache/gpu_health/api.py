"""The two things that are asked of the Kubernetes API: a node, and other taints on it."""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster_api import ClusterApi, expect_ok

from gpu_health.decision import Seen

TAINT_KEY, TAINT_EFFECT = "nvidia.com/gpu-unhealthy", "NoSchedule"
GPU = "nvidia.com/gpu"


class Api:
    """Nodes, by the credentials in a folder."""

    def __init__(self, url: str, credentials: Path) -> None:
        self._api = ClusterApi(url, credentials)

    def node(self, name: str) -> dict[str, Any] | None:
        """The node as the API has it; None: there is no such node. Raises ApiError."""
        status, body = self._api.get(f"nodes/{name}")
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        return expect_ok(f"GET node {name}", status, body)

    def set_taints(self, node: Mapping[str, Any], taints: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the node has exactly these taints now; False: somebody changed it since it was read. Raises ApiError.

        Lists of taints are replaced as a whole by every kind of patch, so the version makes sure that nobody's is lost.
        """
        name, version = node["metadata"]["name"], node["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": list(taints)}}
        status, body = self._api.merge(f"nodes/{name}", patch)
        if status in (http.HTTPStatus.CONFLICT, http.HTTPStatus.NOT_FOUND):
            return False
        expect_ok(f"PATCH node {name}", status, body)
        return True


def read(node: Mapping[str, Any]) -> Seen:
    status, spec = node.get("status", {}), node.get("spec", {})
    # A kubelet that loses a plugin sets the resource to 0; absent, it was never registered (pkg/kubelet/nodestatus/setters.go).
    amount = status.get("allocatable", {}).get(GPU)
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return Seen(
        gpus=None if amount is None else int(amount),
        ready=conditions.get("Ready") == "True",
        cordoned=bool(spec.get("unschedulable")),
        tainted=any(is_ours(taint) for taint in spec.get("taints") or ()),
    )


def is_ours(taint: Mapping[str, Any]) -> bool:
    return (taint.get("key"), taint.get("effect")) == (TAINT_KEY, TAINT_EFFECT)


def with_taint(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*without_taint(node), {"key": TAINT_KEY, "effect": TAINT_EFFECT}]


def without_taint(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [taint for taint in node.get("spec", {}).get("taints") or () if not is_ours(taint)]
