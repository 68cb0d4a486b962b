"""Layer 4, inference: the Qwen3-VL web UI with its engine, behind the route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from components.credentials import Credentials
from components.inference.access import access
from components.inference.autoscaling import Autoscaler, AutoscalerArgs
from components.inference.deployment import NAMESPACE, ModelServer, ModelServerArgs
from components.inference.model_cache import ModelCache, ModelCacheArgs
from components.inference.pod import APP
from components.inference.webui_image import webui_image
from components.settings import Settings
from components.tracing import tracing
from host.resources import Connection


def inference(
    settings: Settings,
    credentials: Credentials,
    *,
    provider: pulumi.ProviderResource,
    ssh: pulumi.ProviderResource,
    connections: Mapping[str, Connection],
    redis_host: pulumi.Input[str],
    redis_password_secret: pulumi.Input[str],
    workers: Sequence[pulumi.Resource],
    after: Sequence[pulumi.Resource],
) -> ModelServer:
    """The copies of the model are filled as soon as there are `workers`; `after` are the gateway, whose resource kinds the
    route uses, and the GPUs."""
    scaling = settings.autoscaling
    limits = settings.replica_bounds if scaling.enabled else None
    models = ModelCache(
        "model-cache",
        ModelCacheArgs(
            store=settings.model_store,
            model=settings.inference.model,
            nfs_server=settings.nfs_server,
            images=settings.images,
            credential=credentials.model_store,
            control_planes=tuple(connections[node.name] for node in settings.control_planes),
            dns_domain=settings.kubernetes.dns_domain,
        ),
        pulumi.ResourceOptions(providers=[provider, ssh], depends_on=workers),
    )
    server = ModelServer(
        "qwen3-vl",
        ModelServerArgs(
            inference=settings.inference,
            model_store=settings.model_store,
            models_claim=models.claim,
            images=settings.images,
            ingress=settings.ingress,
            gpus=settings.gpu_slots,
            most_replicas=settings.replica_bounds.most,
            autoscaled=limits is not None,
            redis_host=redis_host,
            redis_password_secret=redis_password_secret,
            access=access(settings.webui, credentials),
            webui_image=webui_image(settings.images),
            tracing=tracing(settings),
        ),
        pulumi.ResourceOptions(providers=[provider], depends_on=[*after, models]),
    )
    if limits:
        Autoscaler(
            "qwen3-vl-hpa",
            AutoscalerArgs(
                autoscaling=scaling, bounds=limits, app=APP, namespace=NAMESPACE, deployment=server.deployment
            ),
            pulumi.ResourceOptions(providers=[provider]),
        )
    return server
