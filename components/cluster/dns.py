"""Cluster DNS on more than one node.

kubeadm starts both CoreDNS pods while there is only one node, and nothing moves them later: with that node, every name in the
cluster would be gone. Seen: a chat took 36 s after the power of the first control plane was cut.
"""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.apps.v1 import DeploymentPatch, DeploymentSpecPatchArgs
from pulumi_kubernetes.core.v1 import PodSpecPatchArgs, PodTemplateSpecPatchArgs, TopologySpreadConstraintPatchArgs
from pulumi_kubernetes.meta.v1 import LabelSelectorPatchArgs, ObjectMetaPatchArgs

from components.naming import token


class ClusterDns(pulumi.ComponentResource):
    """kubeadm's Deployment `coredns`, made to spread; declared once the nodes have joined, the change moves them."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "ClusterDns"), name, None, opts)
        DeploymentPatch(
            f"{name}-spread",
            metadata=ObjectMetaPatchArgs(name="coredns", namespace="kube-system"),
            spec=DeploymentSpecPatchArgs(
                template=PodTemplateSpecPatchArgs(spec=PodSpecPatchArgs(topology_spread_constraints=[spread()]))
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def spread() -> TopologySpreadConstraintPatchArgs:
    """At most one pod more on a node than on any other, counted within one version, so that a rollout can move them."""
    return TopologySpreadConstraintPatchArgs(
        max_skew=1,
        topology_key="kubernetes.io/hostname",
        when_unsatisfiable="DoNotSchedule",
        label_selector=LabelSelectorPatchArgs(match_labels={"k8s-app": "kube-dns"}),
        match_label_keys=["pod-template-hash"],
    )
