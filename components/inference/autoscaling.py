"""`qwen3-vl-hpa`: how many replicas there are, by CPU, GPU utilisation and requests in flight.

The replicas belong to it: the Deployment says how many there are at its creation and never again (deployment.py).

It takes the largest of what the metrics ask for. With one of them unknown it may still add replicas and never takes one
away (HorizontalController.computeReplicasForMetrics, Kubernetes 1.34), so a dead source of metrics holds what there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.autoscaling.v2 import (
    CrossVersionObjectReferenceArgs,
    ExternalMetricSourceArgs,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehaviorArgs,
    HorizontalPodAutoscalerSpecArgs,
    HPAScalingPolicyArgs,
    HPAScalingRulesArgs,
    MetricIdentifierArgs,
    MetricSpecArgs,
    MetricTargetArgs,
    PodsMetricSourceArgs,
    ResourceMetricSourceArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.naming import labels, token
from components.settings import Autoscaling
from components.settings.autoscaling import Bounds

NAME = "qwen3-vl-hpa"
IN_FLIGHT = "qwen3_vl_requests_in_flight"  # of each replica; custom.metrics.k8s.io
GPU_UTILIZATION = "gpu_utilization"  # of the replicas' GPUs together, in percent; external.metrics.k8s.io
# Replicas that may come and go within a minute. A start costs minutes of a GPU, and the one that leaves was needed until then.
OUT_PER_MINUTE, IN_PER_MINUTE = 2, 1


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoscalerArgs:
    autoscaling: Autoscaling
    bounds: Bounds
    app: str
    namespace: str
    deployment: pulumi.Input[str]


class Autoscaler(pulumi.ComponentResource):
    """The HorizontalPodAutoscaler of the Deployment."""

    def __init__(self, name: str, args: AutoscalerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("inference", "Autoscaler"), name, None, opts)
        HorizontalPodAutoscaler(
            name,
            metadata=ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=labels(args.app, "inference")),
            spec=HorizontalPodAutoscalerSpecArgs(
                scale_target_ref=CrossVersionObjectReferenceArgs(
                    api_version="apps/v1", kind="Deployment", name=args.deployment
                ),
                min_replicas=args.bounds.fewest,
                max_replicas=args.bounds.most,
                metrics=metrics(args.autoscaling),
                behavior=behaviour(args.autoscaling.scale_in_seconds),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def metrics(wanted: Autoscaling) -> list[MetricSpecArgs]:
    """GPU utilisation comes as a sum and is divided by the replicas there are: that is what AverageValue means."""
    gpu = MetricSpecArgs(
        type="External",
        external=ExternalMetricSourceArgs(
            metric=MetricIdentifierArgs(name=GPU_UTILIZATION),
            target=MetricTargetArgs(type="AverageValue", average_value=str(wanted.gpu_utilization)),
        ),
    )
    return [
        MetricSpecArgs(
            type="Resource",
            resource=ResourceMetricSourceArgs(
                name="cpu", target=MetricTargetArgs(type="Utilization", average_utilization=wanted.cpu_percent)
            ),
        ),
        *([gpu] if wanted.gpu_utilization else []),
        MetricSpecArgs(
            type="Pods",
            pods=PodsMetricSourceArgs(
                metric=MetricIdentifierArgs(name=IN_FLIGHT),
                target=MetricTargetArgs(type="AverageValue", average_value=quantity(wanted.requests_in_flight)),
            ),
        ),
    ]


def behaviour(scale_in_seconds: int) -> HorizontalPodAutoscalerBehaviorArgs:
    """Out at once, because the metrics are averages already; in slowly, one by one."""

    def rules(window: int, per_minute: int) -> HPAScalingRulesArgs:
        policy = HPAScalingPolicyArgs(type="Pods", value=per_minute, period_seconds=60)
        return HPAScalingRulesArgs(stabilization_window_seconds=window, select_policy="Max", policies=[policy])

    return HorizontalPodAutoscalerBehaviorArgs(
        scale_up=rules(0, OUT_PER_MINUTE), scale_down=rules(scale_in_seconds, IN_PER_MINUTE)
    )


def quantity(value: float) -> str:
    """As the API server writes it back: whole, or in thousandths."""
    thousandths = round(value * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
