"""The issuer: one small program that orders the gateways' certificate from an ACME server, renews it and keeps it in one Secret.

The Secret is made here without content and is never written by `up` again: what is in it is the issuer's alone, so no run can put
an old certificate back, and no key of it is in the program's state (docs/adr/0023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs, DeploymentStrategyArgs
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

from components.images import image
from components.naming import labels, selector, token
from components.pods import burstable, container_security, http_probe, leave_dead_nodes, pod_security, ports
from components.rbac import Account, grant, rule
from components.settings import Images, certificate
from components.settings.acme import Acme
from host.resources import CertificateIssued, Connection

APP = "acme-issuer"
CERTIFICATE = "traefik-acme"
ACCOUNT = "acme-account"
DNS, EXTERNAL_ACCOUNT, AUTHORITY = "acme-dns", "acme-external-account", "acme-authority"
USER = 65532
PORTS = {"challenges": 8080, "metrics": 9090}
FOLDER = "/etc/acme"
GATEWAY = "http://traefik.traefik.svc"
# Of the challenges' route on the entry point that redirects everything else.
PRIORITY = 100
# HTTP-01 takes seconds, a DNS provider some minutes; the second failure is told at once.
ISSUED_WITHIN_SECONDS = 900
REMEDY = "Mend what the message says and run `up` again, which tries at once; docs/runbooks/CertificateOrderFailing.md has more."


@dataclass(frozen=True, kw_only=True, slots=True)
class AcmeIssuerArgs:
    acme: Acme
    host: str
    namespace: str  # one whose routes and Secrets the gateways read
    first: str  # Secret whose certificate is shown until there is one
    dns: pulumi.Input[Mapping[str, str]] | None  # secret; lego's variable -> value
    eab_key: pulumi.Input[str] | None  # secret
    images: Images


class AcmeIssuer(pulumi.ComponentResource):
    """Ready as soon as its Secret has something to show: the first certificate, which does not have to wait for any server."""

    def __init__(self, name: str, args: AcmeIssuerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "AcmeIssuer"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        account = Account(name=APP, namespace=args.namespace, labels=labels(APP, "gateway"))

        def called(object_name: str) -> ObjectMetaArgs:
            return ObjectMetaArgs(name=object_name, namespace=args.namespace, labels=account.labels)

        kept = [
            Secret(f"{name}-{each}", metadata=called(each), type="Opaque", opts=here) for each in (CERTIFICATE, ACCOUNT)
        ]
        given: list[pulumi.Resource] = []
        if args.dns is not None:
            given.append(Secret(f"{name}-dns", metadata=called(DNS), string_data=args.dns, opts=here))
        if args.eab_key is not None:
            content = {"key": args.eab_key}
            given.append(Secret(f"{name}-eab", metadata=called(EXTERNAL_ACCOUNT), string_data=content, opts=here))
        if args.acme.ca_file is not None:
            authority = {"ca.crt": certificate.read(args.acme.ca_file).decode()}
            given.append(ConfigMap(f"{name}-ca", metadata=called(AUTHORITY), data=authority, opts=here))
        ServiceAccount(name, metadata=called(APP), opts=here)
        grant(name, account, args.namespace, rights(args.first), here)
        Deployment(
            name,
            metadata=called(APP),
            spec=deployment_spec(args, account.labels),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*kept, *given]),
        )
        if args.acme.dns_provider is None:
            port = ServicePortArgs(name="challenges", port=80, target_port="challenges")
            spec = ServiceSpecArgs(selector=selector(APP), ports=[port])
            service = Service(name, metadata=called(APP), spec=spec, opts=here)
            CustomResource(
                f"{name}-challenges",
                "traefik.io/v1alpha1",
                "IngressRoute",
                metadata=called(APP),
                spec=challenges(args.host),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[service]),
            )
        self.register_outputs({})


def wait_for_certificate(
    acme: Acme, host: str, namespace: str, peers: tuple[Connection, ...], opts: pulumi.ResourceOptions
) -> None:
    """`up` ends with the certificate, or with what the server said."""
    CertificateIssued(
        "acme-certificate",
        namespace=namespace,
        secret_name=CERTIFICATE,
        request=acme.request(host),
        peers=peers,
        deadline_seconds=ISSUED_WITHIN_SECONDS,
        remedy=REMEDY,
        opts=opts,
    )


def rights(first: str) -> list[Any]:
    """Three Secrets by name. It may not list or create any, and reads no other."""
    return [
        rule("", "secrets", verbs=("get", "patch"), names=(CERTIFICATE, ACCOUNT)),
        rule("", "secrets", verbs=("get",), names=(first,)),
    ]


def challenges(host: str) -> dict[str, Any]:
    """Of the name only, and only where a server looks (RFC 8555, 8.3)."""
    match = f"Host(`{host}`) && PathPrefix(`/.well-known/acme-challenge/`)"
    leads = [{"name": APP, "port": "challenges"}]
    return {
        "entryPoints": ["web"],
        "routes": [{"kind": "Rule", "match": match, "priority": PRIORITY, "services": leads}],
    }


def deployment_spec(args: AcmeIssuerArgs, named: dict[str, str]) -> DeploymentSpecArgs:
    """One pod, and never two at once: what an order needs is in the memory of the one that placed it."""
    return DeploymentSpecArgs(
        replicas=1,
        revision_history_limit=3,
        strategy=DeploymentStrategyArgs(type="Recreate"),
        selector=LabelSelectorArgs(match_labels=selector(APP)),
        template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=named), spec=pod_spec(args)),
    )


def pod_spec(args: AcmeIssuerArgs) -> PodSpecArgs:
    files = mounted(args)
    return PodSpecArgs(
        service_account_name=APP,
        enable_service_links=False,
        tolerations=leave_dead_nodes(),
        security_context=pod_security(USER),
        termination_grace_period_seconds=10,
        containers=[
            ContainerArgs(
                name=APP,
                image=image(APP, args.images),
                args=arguments(args),
                ports=ports(**PORTS),
                readiness_probe=http_probe("/ready", "metrics", period=5, timeout=2, failures=3),
                liveness_probe=http_probe("/healthz", "metrics", period=30, timeout=5, failures=4),
                resources=burstable("10m", "64Mi", cpu_limit="500m"),
                security_context=container_security(),
                volume_mounts=[
                    VolumeMountArgs(name=volume.name, mount_path=f"{FOLDER}/{folder}", read_only=True)
                    for folder, volume in files.items()
                ],
            )
        ],
        volumes=list(files.values()),
    )


def mounted(args: AcmeIssuerArgs) -> dict[str, VolumeArgs]:
    """Folder below `FOLDER` -> what is in it. The issuer starts anew when one of them changes."""
    found = {}
    if args.dns is not None:
        found["dns"] = VolumeArgs(name="dns", secret=SecretVolumeSourceArgs(secret_name=DNS, default_mode=0o440))
    if args.eab_key is not None:
        source = SecretVolumeSourceArgs(secret_name=EXTERNAL_ACCOUNT, default_mode=0o440)
        found["external-account"] = VolumeArgs(name="external-account", secret=source)
    if args.acme.ca_file is not None:
        found["authority"] = VolumeArgs(name="authority", config_map=ConfigMapVolumeSourceArgs(name=AUTHORITY))
    return found


def arguments(args: AcmeIssuerArgs) -> list[str]:
    """Command line of the issuer; secrets are in files."""
    acme = args.acme
    said = {
        "host": args.host,
        "email": acme.email,
        "directory": acme.directory,
        "profile": acme.profile,
        "ca-file": f"{FOLDER}/authority/ca.crt" if acme.ca_file else None,
        "eab-key-id": acme.external_account,
        "eab-key-file": f"{FOLDER}/external-account/key" if acme.external_account else None,
        "dns-provider": acme.dns_provider,
        "dns-folder": f"{FOLDER}/dns" if acme.dns_provider else None,
        "resolvers": ",".join(f"{each}:53" for each in acme.dns_servers),
        "dns-wait": f"{acme.dns_wait_seconds}s" if acme.dns_wait_seconds else None,
        "gateway": None if acme.dns_provider else GATEWAY,
        "certificate": CERTIFICATE,
        "account": ACCOUNT,
        "first": args.first,
        "namespace": args.namespace,
        "challenges": f":{PORTS['challenges']}",
        "metrics": f":{PORTS['metrics']}",
    }
    return [f"--{name}={value}" for name, value in said.items() if value]
