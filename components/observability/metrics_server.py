"""metrics-server: the CPU use of pods (`metrics.k8s.io`), which the autoscaler and `kubectl top` read. Pure."""

from __future__ import annotations

import pulumi

from components.images import image
from components.observability.extension_api import Api, ExtensionApiArgs
from components.rbac import rule
from components.settings import Images

NAME = "metrics-server"


def metrics_server(
    *, images: Images, replicas: int, namespace: pulumi.Input[str], namespace_name: str
) -> ExtensionApiArgs:
    """It reads every kubelet, with its own right to read metrics and no other.

    Kubelets of kubeadm sign their serving certificates themselves and nobody approves others, so theirs are not verified
    (docs/adr/0016). 200 MiB are upstream's for 100 nodes.
    """
    return ExtensionApiArgs(
        apis=(Api(group="metrics.k8s.io", version="v1beta1"),),
        image=image("metrics-server", images),
        arguments=(
            "--kubelet-insecure-tls",
            "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-use-node-status-port",
            "--metric-resolution=15s",
        ),
        memory="200Mi",
        replicas=replicas,
        namespace=namespace,
        namespace_name=namespace_name,
        cluster_rules=(rule("", "nodes/metrics", verbs=("get",)), rule("", "pods", "nodes")),
    )
