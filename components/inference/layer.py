"""Layer 4, inference: the Qwen3-VL web UI with its engine, behind the route."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.credentials import Credentials
from components.inference.access import access
from components.inference.deployment import ModelServer, ModelServerArgs
from components.inference.webui_image import webui_image
from components.settings import Settings


def inference(
    settings: Settings,
    credentials: Credentials,
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
            gpus=sum(node.gpus for node in settings.workers),
            redis_host=redis_host,
            redis_password_secret=redis_password_secret,
            access=access(settings.webui, credentials),
            webui_image=webui_image(settings.images),
        ),
        pulumi.ResourceOptions(providers=[provider], depends_on=after),
    )
