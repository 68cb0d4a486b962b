"""The two things that are asked of the Kubernetes API: a node, and other taints on it."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_health.decision import Seen

TAINT_KEY, TAINT_EFFECT = "nvidia.com/gpu-unhealthy", "NoSchedule"
GPU = "nvidia.com/gpu"
SILENT_SECONDS = 10.0
LONGEST_REASON = 300  # characters of what the API says to a refusal


class ApiError(Exception):
    """No answer, or one that is of no use. Its text is for a person."""


class Api:
    """`credentials` is the folder that the kubelet mounts; token and CA are read anew each time, because they are rotated."""

    def __init__(self, url: str, credentials: Path) -> None:
        self._url, self._credentials = url.rstrip("/"), credentials

    def node(self, name: str) -> dict[str, Any] | None:
        """The node as the API has it; None: there is no such node. Raises ApiError."""
        status, body = self._ask("GET", name)
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        return expect_ok(f"GET node {name}", status, body)

    def set_taints(self, node: Mapping[str, Any], taints: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the node has exactly these taints now; False: somebody changed it since it was read. Raises ApiError.

        Lists of taints are replaced as a whole by every kind of patch, so the version makes sure that nobody's is lost.
        """
        name, version = node["metadata"]["name"], node["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": list(taints)}}
        status, body = self._ask("PATCH", name, json.dumps(patch).encode())
        if status in (http.HTTPStatus.CONFLICT, http.HTTPStatus.NOT_FOUND):
            return False
        expect_ok(f"PATCH node {name}", status, body)
        return True

    def _ask(self, method: str, name: str, patch: bytes | None = None) -> tuple[int, bytes]:
        try:
            headers = {"Authorization": f"Bearer {(self._credentials / 'token').read_text().strip()}"}
            if patch is not None:
                headers["Content-Type"] = "application/merge-patch+json"
            context = ssl.create_default_context(cafile=str(self._credentials / "ca.crt"))
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            url = f"{self._url}/api/v1/nodes/{name}"
            request = urllib.request.Request(url, patch, headers, method=method)  # noqa: S310 - https, see __main__
            try:
                with opener.open(request, timeout=SILENT_SECONDS) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as refusal:
                with refusal:
                    return refusal.code, refusal.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{method} node {name}: {error}") from error


def expect_ok(what: str, status: int, body: bytes) -> dict[str, Any]:
    """The object in an answer. Raises ApiError for a refusal or for something else than an object."""
    if status != http.HTTPStatus.OK:
        raise ApiError(f"{what}: {status} {body.decode(errors='replace')[:LONGEST_REASON]}")
    try:
        found = json.loads(body)
    except ValueError as error:
        raise ApiError(f"{what}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ApiError(f"{what}: not an object")
    return found


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
