"""What preflight looks at and what it says: one node with what it is compared with, one message about it."""

from __future__ import annotations

from dataclasses import dataclass

from components.hosts.facts import NodeFacts
from components.settings import Gpu, Inference, Kubernetes, Node


@dataclass(frozen=True, slots=True)
class Message:
    """One finding. `check` is the name by which it can be downgraded."""

    check: str
    node: str
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """One reachable node and what it is compared with."""

    node: Node
    facts: NodeFacts
    kubernetes: Kubernetes
    gpu: Gpu
    inference: Inference
