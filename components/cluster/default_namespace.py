"""What pods of the namespace `default` may do. It is there before this program, so its labels are a part of somebody's object."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.core.v1 import NamespacePatch
from pulumi_kubernetes.meta.v1 import ObjectMetaPatchArgs

from components.naming import token
from components.pods import restricted


class DefaultNamespace(pulumi.ComponentResource):
    """Pod Security `restricted`, in force before any pod is made there; destroy takes the labels away after the last one."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "DefaultNamespace"), name, None, opts)
        NamespacePatch(
            f"{name}-pod-security",
            metadata=ObjectMetaPatchArgs(name="default", labels=restricted()),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
