"""What is asked of the Kubernetes API by the programs of this image: one object read, one object patched."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SILENT_SECONDS = 10.0
LONGEST_REASON = 300  # characters of what the API says to a refusal


class ApiError(Exception):
    """No answer, or one that is of no use. Its text is for a person."""


def in_cluster() -> str:
    """The API's address in a pod; the certificate is made out to it."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class ClusterApi:
    """`credentials` is the folder that the kubelet mounts; token and CA are read anew each time, because they are rotated."""

    def __init__(self, url: str, credentials: Path) -> None:
        self._url, self._credentials = url.rstrip("/"), credentials

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body. Raises ApiError if there is no answer."""
        return self._ask("GET", path)

    def merge(self, path: str, patch: Mapping[str, Any]) -> tuple[int, bytes]:
        """The same of a merge patch."""
        return self._ask("PATCH", path, json.dumps(patch).encode())

    def _ask(self, method: str, path: str, patch: bytes | None = None) -> tuple[int, bytes]:
        try:
            headers = {"Authorization": f"Bearer {(self._credentials / 'token').read_text().strip()}"}
            if patch is not None:
                headers["Content-Type"] = "application/merge-patch+json"
            context = ssl.create_default_context(cafile=str(self._credentials / "ca.crt"))
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            url = f"{self._url}/api/v1/{path}"
            request = urllib.request.Request(url, patch, headers, method=method)  # noqa: S310 - https, see in_cluster
            try:
                with opener.open(request, timeout=SILENT_SECONDS) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as refusal:
                with refusal:
                    return refusal.code, refusal.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{method} {path}: {error}") from error


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
