"""Layer 4, inference: the Qwen3-VL web UI with its engine, behind the route."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.inference.deployment import ModelServer, ModelServerArgs
from components.inference.model_cache import ModelCache, ModelCacheArgs
from components.settings import Settings


def inference(
    settings: Settings,
    *,
    provider: pulumi.ProviderResource,
    redis_host: pulumi.Input[str],
    redis_password_secret: pulumi.Input[str],
    model_credential: pulumi.Output[str] | None,
    workers: Sequence[pulumi.Resource],
    after: Sequence[pulumi.Resource],
) -> ModelServer:
    """The copies of the model are filled as soon as there are `workers`; `after` are the gateway, whose resource kinds the
    route uses, and the GPUs."""
    models = ModelCache(
        "model-cache",
        ModelCacheArgs(
            store=settings.model_store,
            model=settings.inference.model,
            nfs_server=settings.nfs_server,
            images=settings.images,
            credential=model_credential,
            dns_domain=settings.kubernetes.dns_domain,
        ),
        pulumi.ResourceOptions(providers=[provider], depends_on=workers),
    )
    return ModelServer(
        "qwen3-vl",
        ModelServerArgs(
            inference=settings.inference,
            model_store=settings.model_store,
            models_claim=models.claim,
            images=settings.images,
            host=settings.ingress.host,
            gpus=sum(node.gpus for node in settings.workers),
            redis_host=redis_host,
            redis_password_secret=redis_password_secret,
        ),
        pulumi.ResourceOptions(providers=[provider], depends_on=[*after, models]),
    )
