"""Names and labels, said once: type tokens, Kubernetes labels, selectors."""

from __future__ import annotations

PART_OF = "qwen3-vl"
MODEL_CACHE_USER = 10010  # of images/model-cache; owns its folder on the workers
# Nodes with GPUs, by the label NVIDIA's own discovery gives them: device plugin and DCGM exporter run on these.
GPU_LABEL = "nvidia.com/gpu.present"
GPU = "nvidia.com/gpu"  # the resource
GPU_RUNTIME = "nvidia"  # the RuntimeClass
# Taint of a node that is short of GPUs, by the key that the jobs of NVIDIA's NVSentinel tolerate (its remediation controller).
SICK_GPU_TAINT = "nvidia.com/gpu-unhealthy"


def token(layer: str, noun: str) -> str:
    """Pulumi type token of a component class, e.g. `qwenvl:cluster:ControlPlane`."""
    return f"qwenvl:{layer}:{noun}"


def selector(app: str) -> dict[str, str]:
    """Labels a selector matches on; never the version, because selectors are immutable."""
    return {"app": app}


def labels(app: str, component: str) -> dict[str, str]:
    """Labels of every object of `app`: the selector's and the recommended ones."""
    return selector(app) | {
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": PART_OF,
        "app.kubernetes.io/managed-by": "pulumi",
    }
