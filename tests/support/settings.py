"""A valid stack config, and a way to break exactly one thing in it."""

from __future__ import annotations

import copy
from typing import Any

REMOVED = object()

VALID: dict[str, Any] = {
    "nodes": [
        {"name": "master-1", "address": "192.168.1.11", "role": "control-plane"},
        {"name": "master-2", "address": "192.168.1.12", "role": "control-plane"},
        {"name": "master-3", "address": "192.168.1.13", "role": "control-plane"},
        {"name": "gpu-1", "address": "192.168.1.21", "role": "worker", "gpus": 1},
        {"name": "gpu-2", "address": "192.168.1.22", "role": "worker", "gpus": 1},
        {"name": "storage-1", "address": "192.168.1.100", "role": "storage"},
    ],
    "ssh": {"knownHosts": "~/.ssh/known_hosts"},
    "kubernetes": {"version": "1.34.2", "apiAddress": "192.168.1.10"},
    "loadBalancer": {"addresses": ["192.168.1.200-192.168.1.220"]},
}


def with_value(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """A copy of the valid config with `value` at `path` (mappings on the way are made), or without what is there."""
    config = copy.deepcopy(VALID)
    place: Any = config
    for step in path[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    if value is REMOVED:
        del place[path[-1]]
    elif isinstance(place, list) and path[-1] == len(place):
        place.append(value)
    else:
        place[path[-1]] = value
    return config
