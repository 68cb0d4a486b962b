"""Layer 4, inference: the Qwen3-VL web UI with its engine, behind the route."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.inference.deployment import ModelServer, ModelServerArgs
from components.settings import Settings


def inference(
    settings: Settings,
    *,
    provider: pulumi.ProviderResource,
    redis_host: pulumi.Input[str],
    redis_password_secret: pulumi.Input[str],
    after: Sequence[pulumi.Resource],
) -> ModelServer:
    """`after` are the gateway, whose resource kinds the route uses, and the GPUs."""
    return ModelServer(
        "qwen3-vl",
        ModelServerArgs(
            inference=settings.inference,
            model_store=settings.model_store,
            nfs_server=settings.nfs_server,
            images=settings.images,
            host=settings.ingress.host,
            gpus=settings.gpu_slots,
            redis_host=redis_host,
            redis_password_secret=redis_password_secret,
        ),
        pulumi.ResourceOptions(providers=[provider], depends_on=after),
    )
