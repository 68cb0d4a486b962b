"""The namespace of what runs on every node and looks at the node itself: it mounts host paths, which "restricted" forbids."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.naming import PART_OF, labels
from components.pods import privileged
from components.traffic import AGENTS


def node_agents(name: str, opts: pulumi.ResourceOptions) -> Namespace:
    return Namespace(
        name, metadata=ObjectMetaArgs(name=AGENTS, labels=labels(PART_OF, "metrics") | privileged()), opts=opts
    )
