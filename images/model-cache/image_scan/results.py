"""The ConfigMap of the results: one key for each image, the newest result of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster_api import ClusterApi, expect_ok

from image_scan.findings import summary

SUFFIX = ".json"


def reports(folder: Path, images: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Name -> summary of what was scanned, name -> why of what was not."""
    found, missing = {}, {}
    for name in images:
        path = folder / f"{name}{SUFFIX}"
        try:
            found[name] = summary(json.loads(path.read_text()), path.stat().st_mtime)
        except FileNotFoundError:
            missing[name] = "no report; the log of the container `scan` says why"
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            missing[name] = f"a report that cannot be read: {error!r}"
    return found, missing


def publish(api: ClusterApi, path: str, found: Mapping[str, Mapping[str, Any]], images: Mapping[str, str]) -> None:
    """Puts the new results beside the old ones of images that were not scanned, and takes away those of former images.

    Raises ApiError.
    """
    present = expect_ok(f"GET {path}", *api.get(path)).get("data") or {}
    gone = {key: None for key in present if key.removesuffix(SUFFIX) not in images}
    new = {f"{name}{SUFFIX}": json.dumps(each, separators=(",", ":")) for name, each in found.items()}
    expect_ok(f"PATCH {path}", *api.merge(path, {"data": gone | new}))
