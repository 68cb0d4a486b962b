"""Grafana: the program's dashboards, from the program, in a pod that keeps nothing (docs/adr/0028).

One replica: its database holds log-ins and nothing else, in the pod. Two would each know their own users only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    KeyToPathArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Secret,
    SecretVolumeSourceArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector, token
from components.observability.dashboards import Parts, dashboards
from components.observability.grafana_config import (
    CONFIG,
    DASHBOARDS,
    DATA,
    PORT,
    SECRETS,
    DataSource,
    Shown,
    files,
    key_of,
)
from components.observability.operator_objects import of_our_jobs
from components.pods import burstable, container_security, http_probe, leave_dead_nodes, pod_security, ports, scratch
from components.settings import Images, Ingress
from components.settings.edge import entry_points
from components.settings.grafana import Grafana as GrafanaSettings
from host.resources import KeyPair

NAME = "grafana"
USER = 472  # the image's
ROUTED = "default"  # the namespace whose routes the gateway reads


@dataclass(frozen=True, kw_only=True, slots=True)
class GrafanaSecrets:
    admin_password: pulumi.Output[str] | None = None  # None: the program makes one
    oidc_secret: pulumi.Output[str] | None = None  # of `observability.grafana.oidc`


@dataclass(frozen=True, kw_only=True, slots=True)
class GrafanaArgs:
    grafana: GrafanaSettings
    secrets: GrafanaSecrets
    parts: Parts
    sources: tuple[DataSource, ...]
    ingress: Ingress
    images: Images
    namespace: pulumi.Input[str]
    namespace_name: str
    dns_domain: str


class Grafana(pulumi.ComponentResource):
    """Deployment `grafana`; where it has a name at the gateway, its Service and the way there."""

    admin_password: pulumi.Output[str]

    def __init__(self, name: str, args: GrafanaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "Grafana"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        named = labels(NAME, "dashboards")
        metadata = ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=named)
        unnamed = ObjectMetaArgs(namespace=args.namespace, labels=named)
        made = KeyPair(f"{name}-key", here).private_key
        self.admin_password = args.secrets.admin_password or made.apply(lambda key: derived("admin", key))
        # All named by the engine: another content is another name, and so another pod.
        secret = Secret(
            f"{name}-secrets", metadata=unnamed, string_data=secrets(args, self.admin_password, made), opts=here
        )
        config = ConfigMap(f"{name}-config", metadata=unnamed, data=config_data(args), opts=here)
        # An operator's Prometheus knows our jobs by other names.
        named_there = (lambda text: text) if args.parts.prometheus else of_our_jobs
        shown = {f"{each.uid}.json": named_there(each.text()) for each in dashboards(args.parts)}
        pictures = ConfigMap(f"{name}-dashboards", metadata=unnamed, data=shown, opts=here)
        mounted = Mounted(secret=secret.metadata.name, config=config.metadata.name, dashboards=pictures.metadata.name)
        Deployment(name, metadata=metadata, spec=deployment_spec(args, mounted), opts=here)
        if args.grafana.host is not None:
            way_in(name, args, args.grafana.host, here)
        self.register_outputs({})


def derived(purpose: str, key: str) -> str:
    """A password that stays as long as the key, which is in the encrypted state only; 128 bits as hexadecimal digits."""
    return hashlib.sha256(f"grafana {purpose}\0{key}".encode()).hexdigest()[:32]


def secrets(
    args: GrafanaArgs, admin_password: pulumi.Output[str], made: pulumi.Output[str]
) -> dict[str, pulumi.Input[str]]:
    """By file. Grafana's own signing key is a well-known one unless told another."""
    found: dict[str, pulumi.Input[str]] = {
        "admin-password": admin_password,
        "secret-key": made.apply(lambda key: derived("secret-key", key)),
    }
    return found | ({"oidc-secret": args.secrets.oidc_secret} if args.secrets.oidc_secret else {})


def way_in(name: str, args: GrafanaArgs, host: str, opts: pulumi.ResourceOptions) -> None:
    """The gateway may read one namespace only, and not this one, whose Secrets it would see; so it is told a name there.

    Without a way there is no Service: port-forward goes to the Deployment.
    """
    Service(
        name,
        metadata=ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=labels(NAME, "dashboards")),
        spec=ServiceSpecArgs(
            selector=selector(NAME), ports=[ServicePortArgs(name="http", port=PORT, target_port="http")]
        ),
        opts=opts,
    )
    metadata = ObjectMetaArgs(name=NAME, namespace=ROUTED, labels=labels(NAME, "dashboards"))
    Service(
        f"{name}-at-the-gateway",
        metadata=metadata,
        spec=ServiceSpecArgs(
            type="ExternalName",
            external_name=f"{NAME}.{args.namespace_name}.svc.{args.dns_domain}",
            ports=[ServicePortArgs(name="http", port=PORT)],
        ),
        opts=opts,
    )
    CustomResource(
        f"{name}-ingress",
        "traefik.io/v1alpha1",
        "IngressRoute",
        metadata=metadata,
        spec={
            "entryPoints": list(entry_points(https_only=args.ingress.tls.on)),
            "routes": [{"kind": "Rule", "match": f"Host(`{host}`)", "services": [{"name": NAME, "port": PORT}]}],
        },
        opts=opts,
    )


def config_data(args: GrafanaArgs) -> dict[str, str]:
    shown = Shown(grafana=args.grafana, tls=args.ingress.tls)
    return {key_of(path): text for path, text in files(shown, args.sources).items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mounted:
    """Names of what the pod mounts."""

    secret: pulumi.Input[str]
    config: pulumi.Input[str]
    dashboards: pulumi.Input[str]


def deployment_spec(args: GrafanaArgs, mounted: Mounted) -> DeploymentSpecArgs:
    return DeploymentSpecArgs(
        replicas=1,
        revision_history_limit=3,
        strategy=DeploymentStrategyArgs(
            type="RollingUpdate", rolling_update=RollingUpdateDeploymentArgs(max_surge=1, max_unavailable=0)
        ),
        selector=LabelSelectorArgs(match_labels=selector(NAME)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(NAME, "dashboards")), spec=pod_spec(args, mounted)
        ),
    )


def pod_spec(args: GrafanaArgs, mounted: Mounted) -> PodSpecArgs:
    data, data_mount = scratch("data", DATA, "256Mi")
    temporary, temporary_mount = scratch("tmp", "/tmp", "64Mi")  # noqa: S108  the pod's own
    paths: Mapping[str, str] = {
        key_of(path): path for path in files(Shown(grafana=args.grafana, tls=args.ingress.tls), args.sources)
    }
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        tolerations=leave_dead_nodes(),
        security_context=pod_security(USER),
        termination_grace_period_seconds=30,
        containers=[
            ContainerArgs(
                name=NAME,
                image=image("grafana", args.images),
                ports=ports(http=PORT),
                startup_probe=http_probe("/api/health", "http", period=2, timeout=5, failures=90),
                readiness_probe=http_probe("/api/health", "http", period=10, timeout=5, failures=3),
                liveness_probe=http_probe("/api/health", "http", period=20, timeout=10, failures=6),
                resources=burstable("50m", f"{args.grafana.memory_mib}Mi", cpu_limit="1", disk="512Mi"),
                security_context=container_security(),
                volume_mounts=[
                    data_mount,
                    temporary_mount,
                    VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True),
                    VolumeMountArgs(name="dashboards", mount_path=DASHBOARDS, read_only=True),
                    VolumeMountArgs(name="secrets", mount_path=SECRETS, read_only=True),
                ],
            )
        ],
        volumes=[
            data,
            temporary,
            VolumeArgs(
                name="config",
                config_map=ConfigMapVolumeSourceArgs(
                    name=mounted.config, items=[KeyToPathArgs(key=key, path=path) for key, path in paths.items()]
                ),
            ),
            VolumeArgs(name="dashboards", config_map=ConfigMapVolumeSourceArgs(name=mounted.dashboards)),
            VolumeArgs(name="secrets", secret=SecretVolumeSourceArgs(secret_name=mounted.secret, default_mode=0o440)),
        ],
    )
