"""Keeps new pods off nodes that are short of GPUs: one small controller (images/model-cache, gpu_health) and its rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs
from pulumi_kubernetes.core.v1 import ContainerArgs, PodSpecArgs, PodTemplateSpecArgs, ServiceAccount
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import MODEL_CACHE_USER, labels, selector, token
from components.pods import burstable, container_security, leave_dead_nodes, pod_security
from components.rbac import Account, grant_in_cluster, rule
from components.settings import Images

APP = "gpu-health"
NAMESPACE = "kube-system"


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuHealthArgs:
    """`amounts` are the GPUs that each GPU node gives to pods while it is well, by node name."""

    amounts: Mapping[str, int]
    images: Images


class GpuHealth(pulumi.ComponentResource):
    """Deployment `gpu-health`. One replica: it remembers nothing but how long it has been looking, so another takes over.

    It reads and patches the nodes it is told of, one by one, so it may not even list them.
    """

    def __init__(self, name: str, args: GpuHealthArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "GpuHealth"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        account = Account(name=APP, namespace=NAMESPACE, labels=labels(APP, "gpu"))
        metadata = ObjectMetaArgs(name=APP, namespace=NAMESPACE, labels=account.labels)
        ServiceAccount(name, metadata=metadata, opts=here)
        nodes = rule("", "nodes", verbs=("get", "patch"), names=tuple(sorted(args.amounts)))
        grant_in_cluster(name, account, [nodes], here)
        Deployment(
            name,
            metadata=metadata,
            spec=DeploymentSpecArgs(
                replicas=1,
                revision_history_limit=3,
                selector=LabelSelectorArgs(match_labels=selector(APP)),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=account.labels), spec=pod_spec(args.amounts, args.images)
                ),
            ),
            opts=here,
        )
        self.register_outputs({})


def pod_spec(amounts: Mapping[str, int], images: Images) -> PodSpecArgs:
    """No probe: a program that only asks has no port, and ends by itself when a turn hangs."""
    return PodSpecArgs(
        service_account_name=APP,
        enable_service_links=False,
        priority_class_name="system-cluster-critical",
        tolerations=leave_dead_nodes(),
        security_context=pod_security(MODEL_CACHE_USER),
        termination_grace_period_seconds=30,  # of which it needs what one answer of the API takes
        containers=[
            ContainerArgs(
                name=APP,
                image=image("model-cache", images),
                command=["python", "-m", "gpu_health"],
                args=[f"--node={name}={amount}" for name, amount in sorted(amounts.items())],
                resources=burstable("10m", "64Mi", cpu_limit="250m"),
                security_context=container_security(),
            )
        ],
    )
