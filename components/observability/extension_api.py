"""A server that adds an API to Kubernetes' own (API aggregation): what metrics-server and prometheus-adapter have in common.

The API server calls it over TLS and trusts exactly its certificate, which is made here and lies in a Secret; it asks the API
server in turn who its callers are and what they may do. While one is away, `kubectl` and the removal of namespaces are
held up too, not only the autoscaler: so there are two wherever there are two nodes for them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apiregistration.v1 import APIService, APIServiceSpecArgs, ServiceReferenceArgs
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
    PodSpecArgs,
    PodTemplateSpecArgs,
    Secret,
    SecretVolumeSourceArgs,
    Service,
    ServiceAccount,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget
from pulumi_kubernetes.rbac.v1 import PolicyRuleArgs

from components.naming import labels, selector, token
from components.pods import (
    apart,
    budget,
    burstable,
    container_security,
    http_probe,
    leave_dead_nodes,
    pod_security,
    ports,
)
from components.rbac import Account, delegate_authorization, grant, grant_in_cluster
from host.resources import ServingCertificate

PORT = 6443
NOBODY = 65534
TLS, CONFIG = "/etc/serving-certificate", "/etc/config"
CONFIG_FILE = f"{CONFIG}/config.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """One version of an API group."""

    group: str
    version: str

    @property
    def name(self) -> str:
        return f"{self.version}.{self.group}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtensionApiArgs:
    apis: tuple[Api, ...]
    image: str
    arguments: tuple[str, ...]
    memory: str
    replicas: int
    namespace: pulumi.Input[str]
    namespace_name: str
    cluster_rules: tuple[PolicyRuleArgs, ...] = ()
    rules: Mapping[str, tuple[PolicyRuleArgs, ...]] = field(default_factory=dict)  # by namespace
    config: str | None = None  # at CONFIG_FILE


class ExtensionApi(pulumi.ComponentResource):
    """Deployment, Service and APIServices; ready once the API server reaches it."""

    def __init__(self, name: str, args: ExtensionApiArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "ExtensionApi"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        named = labels(name, "metrics")
        metadata = ObjectMetaArgs(name=name, namespace=args.namespace, labels=named)
        account = Account(name=name, namespace=args.namespace_name, labels=named)
        ServiceAccount(name, metadata=metadata, opts=here)
        delegate_authorization(name, account, here)
        if args.cluster_rules:
            grant_in_cluster(name, account, list(args.cluster_rules), here)
        for namespace, rules in args.rules.items():
            grant(f"{name}-{namespace}", account, namespace, list(rules), here)

        # The API server asks for the Service by this name, whatever the cluster's domain is.
        certificate = ServingCertificate(f"{name}-certificate", (f"{name}.{args.namespace_name}.svc",), here)
        # Named by the engine, so that changed content is a new name and the pods are replaced.
        unnamed = ObjectMetaArgs(namespace=args.namespace, labels=named)
        secret = Secret(
            f"{name}-certificate",
            metadata=unnamed,
            type="kubernetes.io/tls",
            string_data={"tls.crt": certificate.certificate, "tls.key": certificate.private_key},
            opts=here,
        )
        config = (
            ConfigMap(f"{name}-config", metadata=unnamed, data={"config.yaml": args.config}, opts=here).metadata.name
            if args.config
            else None
        )
        deployment = Deployment(
            name, metadata=metadata, spec=deployment_spec(name, args, secret.metadata.name, config), opts=here
        )
        if args.replicas > 1:
            PodDisruptionBudget(name, metadata=metadata, spec=budget(selector(name)), opts=here)
        service = Service(
            name,
            metadata=metadata,
            spec=ServiceSpecArgs(
                selector=selector(name), ports=[ServicePortArgs(name="https", port=443, target_port="https")]
            ),
            opts=here,
        )
        for api in args.apis:
            APIService(
                api.name,
                metadata=ObjectMetaArgs(
                    name=api.name, labels=named, annotations={"pulumi.com/waitFor": "condition=Available"}
                ),
                spec=APIServiceSpecArgs(
                    group=api.group,
                    version=api.version,
                    group_priority_minimum=100,
                    version_priority=100,
                    ca_bundle=certificate.certificate.apply(lambda pem: base64.b64encode(pem.encode()).decode()),
                    service=ServiceReferenceArgs(name=name, namespace=args.namespace, port=443),
                ),
                # After the pods, and gone before them: an API without a server is in everybody's way.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment, service]),
            )
        self.register_outputs({})


def deployment_spec(
    name: str, args: ExtensionApiArgs, secret: pulumi.Input[str], config: pulumi.Input[str] | None
) -> DeploymentSpecArgs:
    """Each on a node of its own, so that a new one takes the place of an old one."""
    several = args.replicas > 1
    return DeploymentSpecArgs(
        replicas=args.replicas,
        revision_history_limit=3,
        strategy=DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=RollingUpdateDeploymentArgs(
                max_surge=0 if several else 1, max_unavailable=1 if several else 0
            ),
        ),
        selector=LabelSelectorArgs(match_labels=selector(name)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(name, "metrics")), spec=pod_spec(name, args, secret, config)
        ),
    )


def pod_spec(
    name: str, args: ExtensionApiArgs, secret: pulumi.Input[str], config: pulumi.Input[str] | None
) -> PodSpecArgs:
    volumes = [VolumeArgs(name="tls", secret=SecretVolumeSourceArgs(secret_name=secret, default_mode=0o440))]
    mounts = [VolumeMountArgs(name="tls", mount_path=TLS, read_only=True)]
    if config is not None:
        volumes.append(VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config)))
        mounts.append(VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True))
    return PodSpecArgs(
        service_account_name=name,
        enable_service_links=False,
        priority_class_name="system-cluster-critical",
        tolerations=leave_dead_nodes(),
        affinity=apart(selector(name)) if args.replicas > 1 else None,
        security_context=pod_security(NOBODY),
        termination_grace_period_seconds=30,
        containers=[
            ContainerArgs(
                name=name,
                image=args.image,
                args=[
                    *args.arguments,
                    f"--secure-port={PORT}",
                    f"--tls-cert-file={TLS}/tls.crt",
                    f"--tls-private-key-file={TLS}/tls.key",
                ],
                ports=ports(https=PORT),
                startup_probe=http_probe("/livez", "https", period=2, timeout=5, failures=60, tls=True),
                readiness_probe=http_probe("/readyz", "https", period=5, timeout=5, failures=3, tls=True),
                liveness_probe=http_probe("/livez", "https", period=15, timeout=10, failures=4, tls=True),
                resources=burstable("50m", args.memory, cpu_limit="1"),
                security_context=container_security(),
                volume_mounts=mounts,
            )
        ],
        volumes=volumes,
    )
