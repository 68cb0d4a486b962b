"""What the nodes and the API server said, read from the lines of tools/doctor/scripts. Pure."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.settings import Settings
from components.traffic import Pods


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines KEY<tab>FIELD<tab>FIELD..., by key."""

    by_key: Mapping[str, Sequence[tuple[str, ...]]]

    @classmethod
    def of(cls, text: str) -> Lines:
        found: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        for line in text.splitlines():
            key, *fields = line.split("\t")
            if key:
                found[key].append(tuple(fields))
        return cls(found)

    def all(self, key: str, fields: int = 1) -> list[tuple[str, ...]]:
        """Each with that many fields: lines that are shorter are filled up, as if the rest were empty."""
        return [(*each, *[""] * fields)[: max(fields, len(each))] for each in self.by_key.get(key, ())]

    def one(self, key: str) -> str:
        """The first field of its first line, or nothing."""
        return next((each[0] for each in self.by_key.get(key, ()) if each), "")

    def pairs(self, key: str) -> dict[str, str]:
        return {each[0]: each[1] for each in self.all(key, 2)}


@dataclass(frozen=True, slots=True)
class Node:
    """One that was reached: its facts as host/facts.py reads them, and the answers of node.sh."""

    facts: Mapping[str, Any]
    said: Lines

    @property
    def disk(self) -> tuple[float, float] | None:
        """Size of /var and what is free of it, in KiB."""
        told = self.said.all("disk", 2)
        size, free = (number(told[0][0]), number(told[0][1])) if told else (None, None)
        return (size, free) if size and free is not None else None


@dataclass(frozen=True, slots=True)
class Workload:
    kind: str
    namespace: str
    name: str
    wanted: int
    ready: int


@dataclass(frozen=True, slots=True)
class Member:
    """A node as the API has it."""

    ready: str  # True, False, Unknown
    cordoned: bool
    kubelet: str
    gpus: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the API server of one control plane said."""

    through: str
    said: Lines

    @property
    def members(self) -> dict[str, Member]:
        return {
            name: Member(ready or "Unknown", cordoned == "true", version, whole(gpus))
            for name, ready, cordoned, version, gpus in (each[:5] for each in self.said.all("node", 5))
        }

    @property
    def workloads(self) -> list[Workload]:
        lines = (each[:5] for each in self.said.all("workload", 5))
        return [
            Workload(kind, namespace, name, whole(wanted), whole(ready))
            for kind, namespace, name, wanted, ready in lines
        ]

    def workload(self, namespace: str, name: str) -> Workload | None:
        return next((each for each in self.workloads if (each.namespace, each.name) == (namespace, name)), None)

    def pods(self, of: Pods) -> list[tuple[str, str]]:
        """Node and address of those that are ready."""
        lines = (each[:5] for each in self.said.all("pod", 5))
        wanted = (of.namespace, of.app, "True")
        return [(node, ip) for where, app, node, ip, ready in lines if (where, app, ready) == wanted and node and ip]

    @property
    def address(self) -> str:
        """Of the gateway's Service."""
        return self.said.one("address")

    def announcer(self, namespace: str, name: str) -> str:
        lines = (each[:3] for each in self.said.all("announced", 3))
        return next((node for where, what, node in lines if (where, what) == (namespace, name)), "")


@dataclass(frozen=True, slots=True)
class Served:
    """The gateway's certificate and first answer, seen from this machine."""

    status: int  # of the page
    ends: float | None = None  # seconds since 1970; None without TLS
    objection: str = ""  # why a client that was told whom to believe would not
    verified: bool = True  # False: this machine was not told whom to believe


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was learnt; a text in the place of an answer says why there is none."""

    settings: Settings
    now: float
    nodes: Mapping[str, Node | str]
    cluster: Cluster | str
    alerts: str  # Prometheus' own JSON, or
    no_alerts: str  # why not
    redis: Lines  # pages of Redis' proxies: metrics
    served: Served | str
    answer: str | None = None  # to a real question, if one was asked
    no_answer: str | None = None

    @property
    def reached(self) -> dict[str, Node]:
        return {name: node for name, node in self.nodes.items() if isinstance(node, Node)}


def number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def whole(text: str) -> int:
    """Nothing counts as none: the API leaves zeroes out."""
    return int(number(text) or 0)


def mapping(text: str) -> dict[str, Any]:
    """A JSON object; anything else is an empty one."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
