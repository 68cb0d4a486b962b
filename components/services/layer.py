"""Layer 3, services: addresses, GPUs, the gateway and the session store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components import traffic
from components.network_policies import NetworkPolicies, network_policies
from components.services.gpu import GpuServices, GpuServicesArgs
from components.services.metallb import MetalLb, MetalLbArgs
from components.services.redis import SessionStore, SessionStoreArgs
from components.services.traefik import Traefik, TraefikArgs
from components.settings import Settings
from components.tracing import tracing
from host.resources import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """`ready` is what the model server needs before its route and its GPUs work."""

    ingress_address: pulumi.Output[str]
    ingress_ca: pulumi.Output[str] | None  # PEM; what clients are to trust, where the program made it
    redis_host: pulumi.Output[str]
    redis_password_secret: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeSecrets:
    """What the gateway's certificate needs: its key, or what orders it."""

    ingress_key: pulumi.Output[str] | None = None  # of `ingress.tls.certificateFile`
    acme_dns: pulumi.Output[dict[str, str]] | None = None
    acme_eab_key: pulumi.Output[str] | None = None


def services(
    settings: Settings,
    redis_password: pulumi.Output[str],
    *,
    redis_password_previous: pulumi.Output[str] | None = None,
    edge: EdgeSecrets,
    provider: pulumi.ProviderResource,
    ssh: pulumi.ProviderResource,
    connections: Mapping[str, Connection],
    drivers: Mapping[str, pulumi.Resource],
    after: Sequence[pulumi.Resource],
) -> Services:
    """Everything here runs on workers, so it waits for them and for the pod network (`after`).

    `ssh` reaches the machines of `connections`; `drivers` make their GPUs work. Both by node name.
    """
    policies = NetworkPolicies(
        "policies",
        network_policies(settings, traffic.DEFAULT, traffic.SYSTEM, traffic.FLANNEL),
        pulumi.ResourceOptions(providers=[provider], depends_on=after),
    )
    here = pulumi.ResourceOptions(providers=[provider], depends_on=[*after, policies])
    images = settings.images
    metallb = MetalLb(
        "metallb",
        MetalLbArgs(
            load_balancer=settings.load_balancer,
            images=images,
            policies=network_policies(settings, traffic.BALANCER),
        ),
        here,
    )
    gpus = GpuServices(
        "gpu",
        GpuServicesArgs(
            nodes=settings.gpu_workers,
            control_planes=tuple(connections[node.name] for node in settings.control_planes),
            gpu=settings.gpu,
            images=images,
            drivers=drivers,
        ),
        pulumi.ResourceOptions(providers=[provider, ssh], depends_on=[*after, policies]),
    )
    gateway = Traefik(
        "traefik",
        TraefikArgs(
            ingress=settings.ingress,
            images=images,
            workers=len(settings.workers),
            key=edge.ingress_key,
            acme_dns=edge.acme_dns,
            acme_eab_key=edge.acme_eab_key,
            more_hosts=more_hosts(settings),
            tracing=tracing(settings),
            control_planes=tuple(connections[node.name] for node in settings.control_planes),
            policies=network_policies(settings, traffic.GATEWAY),
        ),
        pulumi.ResourceOptions(providers=[provider, ssh], depends_on=[metallb]),
    )
    sessions = SessionStore(
        "redis",
        SessionStoreArgs(
            redis=settings.redis,
            images=images,
            password=redis_password,
            previous=redis_password_previous,
            replicas=settings.redis_replicas,
            dns_domain=settings.kubernetes.dns_domain,
        ),
        here,
    )
    return Services(
        ingress_address=gateway.address,
        ingress_ca=gateway.authority,
        redis_host=sessions.host,
        redis_password_secret=sessions.password_secret,
        ready=(gateway, gpus),
    )


def more_hosts(settings: Settings) -> tuple[str, ...]:
    """Names at the gateway beside that of the service."""
    seen = settings.observability
    return (seen.grafana.host,) if seen.enabled and seen.grafana.enabled and seen.grafana.host else ()
