"""Who reads a file from the source, so that all workers together read it once, and another one if that one cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tells:
    """What an agent tells the others about one revision. `unable`: it got nothing out of the source for long, or has no room."""

    manifest: str = ""
    have: frozenset[str] = frozenset()
    reading: Mapping[str, int] = field(default_factory=dict)  # path -> bytes, from the source, now
    failing: frozenset[str] = frozenset()  # the last reading of it from the source failed
    unable: bool = False


def weight(node: str, path: str) -> bytes:
    """Rendezvous hashing: the node with the smallest weight owns the file, the next one is second."""
    return hashlib.sha256(f"{node}\0{path}".encode()).digest()


def order(path: str, nodes: Iterable[str], unable: Iterable[str] = ()) -> list[str]:
    """Nodes by their claim to a file; those that cannot reach the source come last."""
    last = set(unable)
    return sorted(nodes, key=lambda node: (node in last, weight(node, path)))


def may_read(path: str, own: str, mine: Tells, others: Mapping[str, Tells]) -> bool:
    """Whether to read the file from the source now.

    The first owner does; the second does if the first one tried and failed. Nobody does while another is at it: a reader
    that gets no bytes gives up by itself. Nodes that do not answer are not among `others`, so their claims fall to the next.
    """
    if any(path in other.reading for other in others.values()):
        return False
    unable = [node for node, other in others.items() if other.unable] + ([own] if mine.unable else [])
    first, *rest = order(path, [own, *others], unable)
    if own == first:
        return True
    return bool(rest) and own == rest[0] and path in others[first].failing


def must_withdraw(path: str, own: str, others: Mapping[str, Tells]) -> bool:
    """Whether another one began to read the file at the same moment and has the better claim or has got further."""
    rivals = [(node, other.reading[path]) for node, other in others.items() if path in other.reading]
    return any(read > 0 or weight(node, path) < weight(own, path) for node, read in rivals)
