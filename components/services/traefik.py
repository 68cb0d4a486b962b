"""Traefik: the one way in. Several replicas on different nodes behind one LoadBalancer address.

A worker that dies takes one replica and at most the address with it. The address moves to a worker that has a ready replica
of its own (`externalTrafficPolicy: Local`), so no packet is ever sent on to a node that may be the dead one, and the
client's address is kept for logs and limits. Rights are per namespace: nothing here reads Secrets of the whole cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apiextensions.v1 import JSONSchemaPropsArgs
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    EnvVarArgs,
    Namespace,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Service,
    ServiceAccount,
    ServicePortArgs,
    ServiceSpecArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget
from pulumi_kubernetes.rbac.v1 import PolicyRuleArgs

from components.images import image
from components.naming import labels, selector, token
from components.network_policies import NetworkPolicies, Policies
from components.pods import (
    apart,
    budget,
    burstable,
    container_security,
    http_probe,
    leave_dead_nodes,
    over_nodes,
    pod_security,
    ports,
    restricted,
    scratch,
)
from components.rbac import Account, grant, rule
from components.services.acme_issuer import wait_for_certificate
from components.services.crds import STRING, STRINGS, Definition, define, open_object
from components.services.gateway_tls import GatewayTls, GatewayTlsArgs, life_annotation, redirection
from components.settings import Images, Ingress
from components.settings.edge import IngressLimits
from components.tracing import Tracing
from host.resources import Connection

NAME = "traefik"
NAMESPACE = "traefik"
GROUP, VERSION = "traefik.io", "v1alpha1"
USER = 65532
PORTS = {"web": 8000, "websecure": 8443, "traefik": 8080, "metrics": 9100}
PUBLIC_PORTS = {"web": 80, "websecure": 443}
# A leaving replica goes on accepting until every node has heard of it, then lets answers end.
ACCEPT_SECONDS = 5

PLAIN = (
    "ingress.tls.kind: `none`; passwords, keys and chats cross the network in clear. Remove the key for a certificate that the "
    "program makes, or see docs/security.md for the others."
)

_SERVICE = open_object({"name": STRING}, required=("name",))
_ROUTE = open_object(
    {"match": STRING, "services": JSONSchemaPropsArgs(type="array", items=_SERVICE)}, required=("match",)
)
_ROUTES = open_object(
    {"entryPoints": STRINGS, "routes": JSONSchemaPropsArgs(type="array", items=_ROUTE)}, required=("routes",)
)
DEFINITIONS = tuple(
    Definition(group=GROUP, version=VERSION, kind=kind, plural=plural, spec=spec)
    for kind, plural, spec in (
        ("IngressRoute", "ingressroutes", _ROUTES),
        ("IngressRouteTCP", "ingressroutetcps", open_object()),
        ("IngressRouteUDP", "ingressrouteudps", open_object()),
        ("Middleware", "middlewares", open_object()),
        ("MiddlewareTCP", "middlewaretcps", open_object()),
        ("ServersTransport", "serverstransports", open_object()),
        ("ServersTransportTCP", "serverstransporttcps", open_object()),
        ("TLSOption", "tlsoptions", open_object()),
        ("TLSStore", "tlsstores", open_object()),
        ("TraefikService", "traefikservices", open_object()),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TraefikArgs:
    ingress: Ingress
    images: Images
    workers: int  # nodes that can run a replica
    namespaces: tuple[str, ...] = ("default",)  # whose routes, services and certificates it may read
    key: pulumi.Input[str] | None = None  # of `ingress.tls.certificateFile`
    acme_dns: pulumi.Input[Mapping[str, str]] | None = None  # of `ingress.tls.acme.dnsProvider`
    acme_eab_key: pulumi.Input[str] | None = None  # of `ingress.tls.acme.externalAccount`
    # Other names of the gateway; they lead to Services of other namespaces, as ExternalName in one of `namespaces`.
    more_hosts: tuple[str, ...] = ()
    tracing: Tracing | None = None
    control_planes: tuple[Connection, ...] = ()  # any of them can say whether the certificate has come
    policies: Policies = field(default_factory=dict)


class Traefik(pulumi.ComponentResource):
    """Deployment, budget and the LoadBalancer Service, whose address it hands out."""

    address: pulumi.Output[str]
    authority: pulumi.Output[str] | None  # PEM; what clients are to trust, where the program made it

    def __init__(self, name: str, args: TraefikArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "Traefik"), name, None, opts)
        named = labels(NAME, "gateway")
        metadata = ObjectMetaArgs(name=NAME, namespace=NAMESPACE, labels=named)
        namespace = Namespace(
            f"{name}-namespace",
            metadata=ObjectMetaArgs(name=NAMESPACE, labels=named | restricted()),
            opts=pulumi.ResourceOptions(parent=self),
        )
        definitions = [define(each, named, self) for each in DEFINITIONS]
        policies = NetworkPolicies(
            f"{name}-policies", args.policies, pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        )
        here = pulumi.ResourceOptions(parent=self, depends_on=[namespace, policies, *definitions])

        account = Account(name=NAME, namespace=NAMESPACE, labels=named)
        ServiceAccount(name, metadata=metadata, opts=here)
        for watched in args.namespaces:
            grant(f"{name}-{watched}", account, watched, route_rights(), here)
        self.authority = None
        after = here
        if args.ingress.tls.on:
            tls = GatewayTls(
                f"{name}-tls",
                GatewayTlsArgs(
                    ingress=args.ingress,
                    namespace=args.namespaces[0],
                    labels=named,
                    key=args.key,
                    images=args.images,
                    acme_dns=args.acme_dns,
                    acme_eab_key=args.acme_eab_key,
                    more_hosts=args.more_hosts,
                ),
                here,
            )
            self.authority = tls.authority
            # A replica that starts before its certificate is there would show one of its own making.
            after = pulumi.ResourceOptions(parent=self, depends_on=[namespace, policies, *definitions, tls])
        else:
            pulumi.warn(PLAIN, self)
        gateways = Deployment(name, metadata=metadata, spec=deployment_spec(args), opts=after)
        PodDisruptionBudget(name, metadata=metadata, spec=budget(selector(NAME)), opts=here)
        service = Service(
            name,
            metadata=ObjectMetaArgs(
                name=NAME, namespace=NAMESPACE, labels=named, annotations=wanted_address(args.ingress)
            ),
            spec=ServiceSpecArgs(
                type="LoadBalancer",
                external_traffic_policy="Local",
                allocate_load_balancer_node_ports=False,
                selector=selector(NAME),
                ports=[
                    ServicePortArgs(name=port, port=number, target_port=port) for port, number in PUBLIC_PORTS.items()
                ],
            ),
            opts=here,
        )
        self.address = service.status.load_balancer.ingress[0].ip
        if args.ingress.tls.acme is not None:
            wait_for_certificate(
                args.ingress.tls.acme,
                args.ingress.host,
                args.namespaces[0],
                args.control_planes,
                pulumi.ResourceOptions(parent=self, depends_on=[gateways, service]),
            )
        self.register_outputs({"address": self.address})


def wanted_address(ingress: Ingress) -> dict[str, str] | None:
    """MetalLB's annotation for one address out of the pool."""
    return {"metallb.io/loadBalancerIPs": ingress.address} if ingress.address else None


def route_rights() -> list[PolicyRuleArgs]:
    """What the route provider reads in a namespace: routes, where they lead, and certificates."""
    return [
        rule("", "services", "secrets", "configmaps"),
        rule("discovery.k8s.io", "endpointslices"),
        rule(GROUP, *(definition.plural for definition in DEFINITIONS)),
    ]


def deployment_spec(args: TraefikArgs) -> DeploymentSpecArgs:
    """Replaced one by one; where each replica has a node of its own, the new one takes the place of the old one."""
    own_node = args.ingress.replicas <= args.workers
    return DeploymentSpecArgs(
        replicas=args.ingress.replicas,
        revision_history_limit=3,
        strategy=DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=RollingUpdateDeploymentArgs(
                max_surge=0 if own_node else 1, max_unavailable=1 if own_node else 0
            ),
        ),
        selector=LabelSelectorArgs(match_labels=selector(NAME)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(NAME, "gateway"), annotations=life_annotation(args.ingress.tls)),
            spec=pod_spec(args, own_node=own_node),
        ),
    )


def pod_spec(args: TraefikArgs, *, own_node: bool) -> PodSpecArgs:
    tmp, tmp_mount = scratch("tmp", "/tmp", "64Mi")  # noqa: S108  large request bodies are buffered there
    return PodSpecArgs(
        service_account_name=NAME,
        enable_service_links=False,
        priority_class_name="system-cluster-critical",
        node_selector={"kubernetes.io/os": "linux"},
        tolerations=leave_dead_nodes(),
        affinity=apart(selector(NAME)) if own_node else None,
        topology_spread_constraints=None if own_node else over_nodes(selector(NAME)),
        security_context=pod_security(USER),
        termination_grace_period_seconds=ACCEPT_SECONDS + args.ingress.drain_seconds + 5,
        containers=[
            ContainerArgs(
                name="traefik",
                image=image("traefik", args.images),
                args=static_configuration(args.ingress, args.namespaces, args.more_hosts, args.tracing),
                env=[EnvVarArgs(name="GOMEMLIMIT", value=go_memory(args.ingress))],
                ports=ports(**PORTS),
                startup_probe=http_probe("/ping", "traefik", period=1, timeout=2, failures=60),
                readiness_probe=http_probe("/ping", "traefik", period=5, timeout=2, failures=1),
                liveness_probe=http_probe("/ping", "traefik", period=10, timeout=5, failures=6),
                resources=burstable("100m", f"{args.ingress.memory_mib}Mi", cpu_limit="2", disk="256Mi"),
                security_context=container_security(),
                volume_mounts=[tmp_mount],
            )
        ],
        volumes=[tmp],
    )


def go_memory(ingress: Ingress) -> str:
    """Where Go's collector begins to work harder; bodies are held until a replica has answered, so that another can be asked."""
    return f"{ingress.memory_mib * 9 // 10}MiB"


def static_configuration(
    ingress: Ingress, namespaces: tuple[str, ...], more_hosts: tuple[str, ...] = (), tracing: Tracing | None = None
) -> list[str]:
    """Command line of Traefik; routes come from the cluster."""
    return [
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
        "--log.level=INFO",
        "--log.format=json",
        "--accessLog=true",
        "--accessLog.format=json",
        *(f"--entryPoints.{name}.address=:{port}" for name, port in PORTS.items()),
        # On websecure every route is served with TLS, so one IngressRoute can name both entry points.
        "--entryPoints.websecure.http.tls=true",
        *(redirection(ingress.tls) if ingress.tls.on else ()),
        *(
            f"--entryPoints.{name}.transport.lifeCycle.{phase}={seconds}s"
            for name in PUBLIC_PORTS
            for phase, seconds in (
                ("requestAcceptGraceTimeout", ACCEPT_SECONDS),
                ("graceTimeOut", ingress.drain_seconds),
            )
        ),
        *(flag for name in PUBLIC_PORTS for flag in client_limits(name, ingress.limits)),
        # X_Forwarded_For and the like never reach a backend that would take them for Traefik's own headers.
        *(f"--entryPoints.{name}.http.aliasHeadersStrategy=delete" for name in PUBLIC_PORTS),
        "--ping=true",
        "--ping.entryPoint=traefik",
        "--metrics.prometheus=true",
        "--metrics.prometheus.entryPoint=metrics",
        "--metrics.prometheus.addRoutersLabels=true",
        *(spans(tracing) if tracing else ()),
        # A dead node drops packets: give up on it soon, there is another replica to ask.
        "--serversTransport.forwardingTimeouts.dialTimeout=1s",
        # Before the web UI closes it (75 s), or a request would go into a connection that is just being closed.
        "--serversTransport.forwardingTimeouts.idleConnTimeout=60s",
        f"--serversTransport.forwardingTimeouts.responseHeaderTimeout={ingress.answer_seconds}s",
        "--providers.kubernetesCRD=true",
        f"--providers.kubernetesCRD.namespaces={','.join(namespaces)}",
        "--providers.kubernetesCRD.disableClusterScopeResources=true",
        "--providers.kubernetesCRD.safeNaming=true",
        # No replica ready is "503, come back", not "404, no such service".
        "--providers.kubernetesCRD.allowEmptyServices=true",
        *(("--providers.kubernetesCRD.allowExternalNameServices=true",) if more_hosts else ()),
    ]


def spans(tracing: Tracing) -> list[str]:
    """Whether a request is followed is decided here; no header is in a span. The access log gets `TraceId` by itself."""
    return [
        "--tracing.serviceName=traefik",
        "--tracing.addInternals=false",
        f"--tracing.sampleRate={tracing.sample_percent / 100:g}",
        f"--tracing.otlp.http.endpoint={tracing.traces_url}",
    ]


def client_limits(entry_point: str, limits: IngressLimits) -> list[str]:
    """How long a client may take for a request, but not for reading a streamed answer; and no bytes in a path that two programs
    could read differently."""
    transport = f"--entryPoints.{entry_point}.transport.respondingTimeouts"
    http = f"--entryPoints.{entry_point}.http"
    return [
        f"{transport}.readTimeout={limits.request_seconds}s",
        f"{transport}.writeTimeout=0s",
        f"{transport}.idleTimeout={limits.idle_seconds}s",
        f"{http}.maxHeaderBytes={limits.header_kib * 1024}",
        *(f"{http}.encodedCharacters.allowEncoded{each}=false" for each in ("Slash", "BackSlash", "NullCharacter")),
    ]
