"""Kubernetes objects of the services, inference and observability layers, rendered without an engine or a cluster."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pulumi
import pulumi_kubernetes
import yaml
from pulumi.runtime.mocks import MockResourceArgs

from components.alert_secrets import AlertSecrets
from components.credentials import Credentials
from components.hosts.connections import connections
from components.inference.layer import inference
from components.observability.grafana import GrafanaSecrets
from components.observability.layer import observability
from components.services.layer import EdgeSecrets, services
from components.settings import Settings
from components.settings.alerting import Alerting
from components.settings.stack_file import stack_settings
from components.settings.webui import LoginKind
from host.resources import HostProvider
from tests.support.graph import Graph, Resource, Secret, record

STACKS = ("lab", "prod", "small")
PASSWORD = "canary-of-the-redis-password"
CERTIFICATE, CERTIFICATE_KEY = "a certificate in PEM", "canary-of-a-certificate's-key"
AUTHORITY, AUTHORITY_KEY = "an authority in PEM", "canary-of-an-authority's-key"
INGRESS_KEY = "canary-of-the-ingress-key"
ACME_DNS, ACME_EAB_KEY = "canary-of-a-dns-provider", "canary-of-an-external-account"
MADE_KEY = "a key in PEM"
ALERT_URL = "https://canary-of-an-alert-url.example.com"
ALERT_KEY, ALERT_PASSWORD = "canary-of-a-robot's-key", "canary-of-a-mail-server"
TOKEN = "canary-of-the-gateway-token"
BUCKET_KEYS = ("canary-of-the-access-key", "canary-of-the-secret-key")
KEY_DIGEST = hashlib.sha256(b"canary-of-an-api-key").hexdigest()
USER_HASH = "canary-of-a-password-hash"
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object as the API server would get it, and the resource it came from."""

    body: dict[str, Any]
    resource: Resource

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.body["metadata"].get("namespace", ""))

    @property
    def where(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["spec"]
        return found

    @property
    def pod(self) -> dict[str, Any]:
        """Pod template of a workload."""
        spec = self.spec["jobTemplate"]["spec"] if self.kind == "CronJob" else self.spec
        found: dict[str, Any] = spec["template"]
        return found

    def containers(self) -> Iterator[dict[str, Any]]:
        spec = self.pod["spec"]
        yield from (*spec.get("initContainers", ()), *spec["containers"])


def some_credentials(settings: Settings) -> Credentials:
    """The secrets a config needs, each with a canary for its value; the API key as the digest that is kept of it."""
    login, acme = settings.webui.login.kind, settings.ingress.tls.acme
    access_key, secret_key = (pulumi.Output.secret(key) for key in BUCKET_KEYS)
    return Credentials(
        alerts=some_alert_secrets(settings.observability.alerting),
        redis_password=pulumi.Output.secret(PASSWORD),
        api_keys=pulumi.Output.secret({"a-client": KEY_DIGEST}),
        webui_users=pulumi.Output.secret({"alice": USER_HASH}) if login is LoginKind.PASSWORD else None,
        gateway_token=pulumi.Output.secret(TOKEN) if login is LoginKind.FORWARD_AUTH else None,
        ingress_key=pulumi.Output.secret(INGRESS_KEY) if settings.ingress.tls.certificate_file else None,
        acme_dns=pulumi.Output.secret({"HTTPREQ_ENDPOINT": ACME_DNS}) if acme and acme.dns_provider else None,
        acme_eab_key=pulumi.Output.secret(ACME_EAB_KEY) if acme and acme.external_account else None,
        logs_s3=(access_key, secret_key) if settings.observability.logs.storage.kind == "s3" else None,
    )


def some_alert_secrets(alerting: Alerting) -> AlertSecrets:
    return AlertSecrets(
        urls=pulumi.Output.secret({name: f"{ALERT_URL}/{name}" for name in alerting.with_url}),
        signing=pulumi.Output.secret(dict.fromkeys(alerting.relayed, ALERT_KEY)),
        smtp_password=pulumi.Output.secret(ALERT_PASSWORD),
        heartbeat_url=pulumi.Output.secret(f"{ALERT_URL}/heartbeat"),
    )


@cache
def stack_graph(stack: str) -> Graph:
    """The layers above the cluster of a stack, as __main__.py wires them."""
    return graph(stack_settings(stack))


def graph(settings: Settings, **secrets: str) -> Graph:
    """`secrets` are credentials beside those that every stack has, by their names there."""

    def program() -> None:
        provider = pulumi_kubernetes.Provider("cluster", kubeconfig="apiVersion: v1")
        more: dict[str, Any] = {name: pulumi.Output.secret(value) for name, value in secrets.items()}
        credentials = replace(some_credentials(settings), **more)
        ssh, reached = HostProvider("ssh"), connections(settings.nodes, settings.ssh)
        shared = services(
            settings,
            credentials.redis_password,
            redis_password_previous=credentials.redis_password_previous,
            edge=EdgeSecrets(
                ingress_key=credentials.ingress_key,
                acme_dns=credentials.acme_dns,
                acme_eab_key=credentials.acme_eab_key,
            ),
            provider=provider,
            ssh=ssh,
            connections=reached,
            drivers={},
            after=(),
        )
        inference(
            settings,
            credentials,
            provider=provider,
            ssh=ssh,
            connections=reached,
            redis_host=shared.redis_host,
            redis_password_secret=shared.redis_password_secret,
            workers=(),
            after=shared.ready,
        )
        observability(
            settings,
            credentials.alerts,
            grafana=GrafanaSecrets(
                admin_password=credentials.grafana_admin_password, oidc_secret=credentials.grafana_oidc_secret
            ),
            logs_s3=credentials.logs_s3,
            ssh=ssh,
            provider=provider,
            after=shared.ready,
        )

    return record(program, answers)


def manifests(found: Graph, wanted: Callable[[Manifest], bool] = lambda _: True) -> list[Manifest]:
    """The objects in a graph, in a stable order."""
    objects = [
        Manifest(_as_sent(resource), resource)
        for resource in found.resources
        if resource.type.startswith("kubernetes:")
    ]
    ordered = sorted(objects, key=lambda each: (each.kind, each.namespace, each.name))
    return [each for each in ordered if wanted(each)]


def owner(found: Graph, resource: Resource) -> str:
    """Name of the component a resource belongs to."""
    while resource.parent in found.by_urn:
        resource = found.by_urn[resource.parent]
    return resource.name


def to_yaml(objects: list[Manifest]) -> str:
    return yaml.dump_all([each.body for each in objects], Dumper=_Readable, sort_keys=True, width=130)


def answers(args: MockResourceArgs) -> dict[str, Any]:
    """What a cluster would add: a name where there is none, and an address for a load balancer. What the host provider makes."""
    if args.typ == "host:index:ServingCertificate":
        return {"certificate": CERTIFICATE, "privateKey": pulumi.Output.secret(CERTIFICATE_KEY)}
    if args.typ == "host:index:PrivateCertificate":
        authority = {"authority": AUTHORITY, "authorityKey": pulumi.Output.secret(AUTHORITY_KEY)}
        return authority | {"certificate": CERTIFICATE, "privateKey": pulumi.Output.secret(CERTIFICATE_KEY)}
    if args.typ == "host:index:KeyPair":
        return {"privateKey": pulumi.Output.secret(MADE_KEY)}
    metadata = dict(args.inputs.get("metadata") or {})
    added: dict[str, Any] = {"metadata": metadata | {"name": metadata.get("name", _made_up(args.name))}}
    if args.inputs.get("spec", {}).get("type") == "LoadBalancer":
        added["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    if args.typ == "kubernetes:core/v1:Service":
        added["spec"] = args.inputs["spec"] | {"clusterIP": f"198.18.0.{sum(args.name.encode()) % 250}"}
    if args.typ == "command:local:Command":
        return {"stdout": f"{args.inputs['environment']['REFERENCE']}@sha256:{'ab' * 32}\n"}
    return added


def _made_up(logical_name: str) -> str:
    return f"{logical_name}-0a1b2c3d"


def _as_sent(resource: Resource) -> dict[str, Any]:
    body: dict[str, Any] = _spelled(resource.inputs)
    body.setdefault("metadata", {}).setdefault("name", _made_up(resource.name))
    return body


def _spelled(value: Any) -> Any:
    """As the Kubernetes provider sends it: dashes its schema cannot spell, whole numbers, no secret in clear."""
    if isinstance(value, Secret):
        return "[secret]"
    if isinstance(value, dict):
        return {
            key.replace("_", "-") if key.startswith("x_kubernetes_") else key: _spelled(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


class _Readable(yaml.SafeDumper):
    """Texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _block)
