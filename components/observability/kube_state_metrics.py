"""kube-state-metrics: what Kubernetes' objects say of themselves, as numbers. One replica, which holds nothing."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs
from pulumi_kubernetes.core.v1 import ContainerArgs, PodSpecArgs, PodTemplateSpecArgs, ServiceAccount
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector
from components.pods import burstable, container_security, http_probe, leave_dead_nodes, pod_security, ports
from components.rbac import Account, grant_in_cluster, rule
from components.settings import Images

NAME = "kube-state-metrics"
PORT, OWN_PORT = 8080, 8081
NOBODY = 65534
# API group -> resources, all that it may list. No Secrets and no ConfigMaps: their numbers are not worth the right to read them.
WATCHED: dict[str, tuple[str, ...]] = {
    "": ("nodes", "pods", "namespaces", "services", "persistentvolumes", "persistentvolumeclaims"),
    "apps": ("deployments", "statefulsets", "daemonsets", "replicasets"),
    "batch": ("jobs", "cronjobs"),
    "autoscaling": ("horizontalpodautoscalers",),
    "policy": ("poddisruptionbudgets",),
}


def kube_state_metrics(
    name: str, images: Images, namespace: pulumi.Input[str], namespace_name: str, opts: pulumi.ResourceOptions
) -> Deployment:
    account = Account(name=NAME, namespace=namespace_name, labels=labels(NAME, "metrics"))
    metadata = ObjectMetaArgs(name=NAME, namespace=namespace, labels=labels(NAME, "metrics"))
    ServiceAccount(name, metadata=metadata, opts=opts)
    rules = [rule(group, *resources, verbs=("list", "watch")) for group, resources in WATCHED.items()]
    grant_in_cluster(name, account, rules, opts)
    return Deployment(
        name,
        metadata=metadata,
        spec=DeploymentSpecArgs(
            replicas=1,
            revision_history_limit=3,
            selector=LabelSelectorArgs(match_labels=selector(NAME)),
            template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=labels(NAME, "metrics")), spec=pod(images)),
        ),
        opts=opts,
    )


def pod(images: Images) -> PodSpecArgs:
    return PodSpecArgs(
        service_account_name=NAME,
        priority_class_name="system-cluster-critical",  # alerts on everything else rest on it
        enable_service_links=False,
        tolerations=leave_dead_nodes(),
        security_context=pod_security(NOBODY),
        containers=[
            ContainerArgs(
                name=NAME,
                image=image(NAME, images),
                args=[
                    f"--port={PORT}",
                    f"--telemetry-port={OWN_PORT}",
                    f"--resources={','.join(each for resources in WATCHED.values() for each in resources)}",
                ],
                ports=ports(http=PORT),
                readiness_probe=http_probe("/healthz", "http", period=5, timeout=5, failures=3),
                liveness_probe=http_probe("/livez", "http", period=30, timeout=10, failures=4),
                resources=burstable("20m", "128Mi", cpu_limit="500m"),
                security_context=container_security(),
            )
        ],
    )
