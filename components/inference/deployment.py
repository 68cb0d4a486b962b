"""Qwen3-VL as a service: replicas of web UI and engine, the Service in front of them and the route to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import ConfigMap, PodTemplateSpecArgs, Secret, Service, ServicePortArgs, ServiceSpecArgs
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget, PodDisruptionBudgetSpecArgs
from pulumi_kubernetes.scheduling.v1 import PriorityClass

from components.inference.access import Access, forward_auth, gateway_token, routes
from components.inference.bodies import TOO_LARGE, Size, client_gates, longer_than, sizes, too_large
from components.inference.engines import engine
from components.inference.model import MIB
from components.inference.pod import APP, WEBUI_PORT, PodArgs, pod_spec
from components.inference.rollout import Rollout, rollout
from components.naming import labels, selector, token
from components.settings import Images, Inference, Ingress, ModelStore
from components.settings.edge import counters, entry_points
from components.settings.tls import Tls
from components.settings.webui import Login
from components.tracing import Tracing

NAMESPACE = "default"
SERVICE = "qwen3-vl-service"
INGRESS = "qwen3-vl-ingress"
RETRY = "qwen3-vl-retry"
HEADERS = "qwen3-vl-headers"
LOGIN = "qwen3-vl-login"
GATEWAY = "qwen3-vl-gateway"
ACCESS = "qwen3-vl-access"
PRIORITY = "qwen3-vl-serving"
COOKIE = "qwen3_vl_replica"
TRAEFIK_API = "traefik.io/v1alpha1"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelServerArgs:
    inference: Inference
    model_store: ModelStore
    models_claim: pulumi.Input[str]  # of the worker's copy of the model
    images: Images
    ingress: Ingress
    gpus: int  # of all workers together
    most_replicas: int  # that may ever run
    autoscaled: bool  # off: `inference.replicas` is the number
    redis_host: pulumi.Input[str]
    redis_password_secret: pulumi.Input[str]
    access: Access
    webui_image: pulumi.Input[str]
    tracing: Tracing | None = None


class ModelServer(pulumi.ComponentResource):
    """Deployment `qwen3-vl-webui`, Service `qwen3-vl-service`, IngressRoute `qwen3-vl-ingress`."""

    deployment: pulumi.Output[str]
    service: pulumi.Output[str]

    def __init__(self, name: str, args: ModelServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("inference", "ModelServer"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        priority = PriorityClass(
            f"{name}-priority",
            metadata=ObjectMetaArgs(name=PRIORITY, labels=labels(APP, "inference")),
            value=100_000,
            description="Answers to users; batch work on the same GPUs gives way.",
            opts=here,
        )
        secret = access_secret(f"{name}-access", args.access, here)
        files = engine_files(f"{name}-engine", args.inference, here)
        plan = rollout(args.inference, gpus=args.gpus, most_replicas=args.most_replicas)
        deployment = Deployment(
            name,
            metadata=metadata(APP),
            spec=deployment_spec(args, plan, priority.metadata.name, files, secret),
            opts=pulumi.ResourceOptions(
                parent=self,
                # With an autoscaler the first size only. Left out, it would be 1 until the autoscaler's next look.
                ignore_changes=["spec.replicas"] if args.autoscaled else None,
                custom_timeouts=pulumi.CustomTimeouts(
                    create=f"{plan.create_seconds}s", update=f"{plan.total_seconds}s"
                ),
            ),
        )
        PodDisruptionBudget(
            f"{name}-budget", metadata=metadata(APP), spec=budget(args.inference.max_unavailable), opts=here
        )
        service = Service(
            f"{name}-service",
            metadata=metadata(SERVICE),
            spec=ServiceSpecArgs(
                type="ClusterIP",
                selector=selector(APP),
                ports=[ServicePortArgs(name="http", port=80, target_port=WEBUI_PORT)],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment]),
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[service])
        login = args.access.webui.login
        kept = kept_bodies(args.ingress, args.inference, login)
        for part, kind, called, spec in (
            ("retry", "Middleware", RETRY, retry()),
            *security_headers(args.ingress.tls),
            *login_middlewares(args.access),
            *(
                (called.removeprefix("qwen3-vl-"), kind, called, spec)
                for kind, found in (
                    ("Middleware", gates(args.ingress, kept)),
                    ("TraefikService", backends(kept, tls=args.ingress.tls.on)),
                )
                for called, spec in found.items()
            ),
            ("ingress", "IngressRoute", INGRESS, route(args.ingress, kept, login)),
        ):
            CustomResource(f"{name}-{part}", TRAEFIK_API, kind, metadata=metadata(called), spec=spec, opts=after)
        self.deployment = deployment.metadata.name
        self.service = service.metadata.name
        self.register_outputs({"deployment": self.deployment, "service": self.service})


def metadata(name: str) -> ObjectMetaArgs:
    return ObjectMetaArgs(name=name, namespace=NAMESPACE, labels=labels(APP, "inference"))


def engine_files(name: str, inference: Inference, opts: pulumi.ResourceOptions) -> pulumi.Output[str] | None:
    """The engine's files as a ConfigMap; another content has another name, so a change of it is a rollout."""
    files = engine(inference).files
    if not files:
        return None
    digest = hashlib.sha256("".join(f"{path}\0{text}\0" for path, text in sorted(files.items())).encode()).hexdigest()
    made = ConfigMap(name, metadata=metadata(f"{APP}-engine-{digest[:8]}"), data=dict(files), immutable=True, opts=opts)
    return made.metadata.name


def access_secret(name: str, given: Access, opts: pulumi.ResourceOptions) -> pulumi.Output[str] | None:
    """A Secret of a fixed name: what changes in it reaches running pods as files, within a minute or two, and restarts none.

    A name of the engine's choosing would replace the pods, and with each the engine and its loaded model.
    """
    if not given.files:
        return None
    secret = Secret(name, metadata=metadata(ACCESS), string_data=dict(given.files), opts=opts)
    return secret.metadata.name


def security_headers(tls: Tls) -> list[tuple[str, str, str, dict[str, Any]]]:
    """What every answer says to browsers where users come by https, an error of the gateway's or of a login service too.

    The rest of a policy is the page's own and stays as it is: it knows what its scripts need (images/webui, limits.py), and says
    who may frame it in words that `X-Frame-Options` only repeats for old browsers.
    """
    if not tls.on:
        return []
    spec = {
        "contentTypeNosniff": True,
        "customFrameOptionsValue": "SAMEORIGIN",
        "referrerPolicy": "same-origin",
        # Of this name only: others below it may not have a certificate.
        **({"stsSeconds": tls.hsts_days * 24 * 3600} if tls.hsts_days else {}),
    }
    return [("headers", "Middleware", HEADERS, {"headers": spec})]


def login_middlewares(given: Access) -> list[tuple[str, str, str, dict[str, Any]]]:
    """What the page's route passes when an authentication service logs users in."""
    if given.gateway_token is None:
        return []
    return [
        ("login", "Middleware", LOGIN, forward_auth(given.webui.login)),
        ("gateway", "Middleware", GATEWAY, gateway_token(given.gateway_token)),
    ]


def deployment_spec(
    args: ModelServerArgs,
    plan: Rollout,
    priority_class: pulumi.Input[str],
    files: pulumi.Input[str] | None,
    access_secret: pulumi.Input[str] | None,
) -> DeploymentSpecArgs:
    return DeploymentSpecArgs(
        replicas=args.inference.replicas,
        revision_history_limit=5,
        progress_deadline_seconds=plan.step_seconds,
        strategy=DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=RollingUpdateDeploymentArgs(max_surge=plan.max_surge, max_unavailable=plan.max_unavailable),
        ),
        selector=LabelSelectorArgs(match_labels=selector(APP)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(APP, "inference")),
            spec=pod_spec(
                PodArgs(
                    inference=args.inference,
                    model_store=args.model_store,
                    models_claim=args.models_claim,
                    images=args.images,
                    redis_host=args.redis_host,
                    redis_password_secret=args.redis_password_secret,
                    access=args.access,
                    access_secret=access_secret,
                    webui_image=args.webui_image,
                    tracing=args.tracing,
                    priority_class=priority_class,
                    engine_files=files,
                )
            ),
        ),
    )


def budget(max_unavailable: int) -> PodDisruptionBudgetSpecArgs:
    """Drains take so many replicas at a time, whatever the number there is; one that does not work holds up nothing."""
    return PodDisruptionBudgetSpecArgs(
        max_unavailable=max_unavailable,
        unhealthy_pod_eviction_policy="AlwaysAllow",
        selector=LabelSelectorArgs(match_labels=selector(APP)),
    )


def kept_bodies(ingress: Ingress, inference: Inference, login: Login) -> tuple[Size, ...]:
    """The sizes of bodies, each with a backend of its own."""
    return sizes(inference.max_body_mib * MIB, ingress.memory_mib, counters=counters(login, https_only=ingress.tls.on))


def route(ingress: Ingress, kept: tuple[Size, ...], login: Login) -> dict[str, Any]:
    """By the length of a body to the backend that keeps so much, or to nowhere; Traefik asks the longest rule first."""
    host, largest = f"Host(`{ingress.host}`)", kept[-1]
    always = ((HEADERS,) if ingress.tls.on else ()) + tuple(client_gates(ingress))
    ways = [(size.backend, f"{host} && {size.rule}" if size.rule else host, tuple(size.gates)) for size in kept]
    ways.append((largest.backend, f"{host} && {longer_than(largest.limit)}", (TOO_LARGE,)))
    return {
        "entryPoints": list(entry_points(https_only=ingress.tls.on)),
        "routes": [
            route
            for name, rule, before in ways
            for route in routes(
                rule,
                {"kind": "TraefikService", "name": name},
                login,
                middlewares=(LOGIN, GATEWAY),
                before=always + before,
            )
        ],
    }


def gates(ingress: Ingress, kept: tuple[Size, ...]) -> dict[str, dict[str, Any]]:
    """The middlewares that `route` names, but for those of a login."""
    made = {TOO_LARGE: too_large(kept[-1].limit)} | client_gates(ingress)
    for size in kept:
        made |= size.gates
    return made


def backends(kept: tuple[Size, ...], *, tls: bool) -> dict[str, dict[str, Any]]:
    """The same way to the replicas, once for each size of what is kept meanwhile."""
    return {size.backend: backend(tls=tls, body_bytes=size.limit) for size in kept}


def backend(*, tls: bool, body_bytes: int) -> dict[str, Any]:
    """Soft stickiness: a chat comes back to the replica whose caches know it, or goes to any other if that one is gone.

    A sticky cookie alone would pin its users to a dead replica until the cluster has noticed (40 s for a dead node), so
    what that replica does not answer is asked again without the cookie. Both go to the one of two replicas that has fewer
    requests in hand (`p2c`): the less busy GPU, and never twice in a row the one whose dials are hanging. Bodies above the
    web UI's own limit are refused here, because a body has to be kept for asking again.

    The second try remembers for a while who did not answer. The first must not: there a 5xx of the web UI's own would count
    too, and a few requests that provoke one could take every replica out.
    """
    service = {"kind": "Service", "name": SERVICE, "port": 80, "strategy": "p2c"}
    cookie = {"name": COOKIE, "httpOnly": True, "secure": tls, "sameSite": "lax"}
    shunned = {"failureWindow": "5s", "maxFailedAttempts": 2}
    return {
        "failover": {
            "service": service | {"sticky": {"cookie": cookie}},
            "fallback": service | {"middlewares": [{"name": RETRY}], "passiveHealthCheck": shunned},
            "errors": {"status": ["502", "504"], "maxRequestBodyBytes": body_bytes},
        }
    }


def retry() -> dict[str, Any]:
    """A request that a replica has not begun to answer is sent to the next one."""
    return {"retry": {"attempts": 4, "initialInterval": "100ms"}}
