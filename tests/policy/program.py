"""The whole program, `__main__.py` itself, recorded with the config of a checked-in stack file."""

from __future__ import annotations

import json
import runpy
import signal
from functools import cache
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockResourceArgs

from components.settings.stack_file import NAMESPACE, PROJECT, plain_values
from tests.support.cluster import KEY, provider
from tests.support.graph import Graph, record
from tests.support.manifests import answers

# What `pulumi config set --secret` would have been given, each of a form that the program takes.
SECRETS = {
    "redisPassword": "canary-of-the-redis-password",
    "sshPrivateKey": "canary-of-the-ssh-key",
    "modelStoreCredential": "canary-of-the-model-store",
    "apiKeys": json.dumps({"a-client": "canary-of-an-api-key-0123456789"}),
    "webuiUsers": json.dumps({"alice": f"$scrypt$n=16384,r=8,p=1${'a' * 22}${'b' * 43}"}),
    "gatewayToken": "canary-of-the-gateway-token",
    "ingressKey": "canary-of-the-ingress-key",
    "acmeDns": json.dumps({"HTTPREQ_ENDPOINT": "canary-of-a-dns-provider"}),
    "acmeEabKey": "canary-of-an-external-account",
    "grafanaAdminPassword": "canary-of-grafana's-password",
    "grafanaOidcSecret": "canary-of-grafana's-oidc-secret",
    "logsS3AccessKey": "canary-of-the-bucket's-access-key",
    "logsS3SecretKey": "canary-of-the-bucket's-secret-key",
}


ORDERED = {"email": "ops@example.com", "directory": "https://acme.example.com/directory"}
MORE = {"acme": {"acme": ORDERED | {"dnsProvider": "webhook", "externalAccount": "a-key"}}}
"""What a kind of `ingress.tls` needs."""
BUCKET = {"endpoint": "https://s3.example.com", "bucket": "logs"}
LOGS: dict[str, dict[str, Any]] = {
    "disk": {"enabled": True},
    "s3": {"enabled": True, "storage": {"kind": "s3"} | BUCKET},
}
OPERATOR = {"url": "http://prometheus-operated.monitoring.svc:9090", "namespace": "monitoring"}


@cache
def program(stack: str, tls: str = "", logs: str = "", operator: bool = False) -> Graph:
    """Every resource of a stack, as `pulumi up` would register it, with another kind of `ingress.tls` if one is named, with logs
    if the kind of their store is, and with a Prometheus Operator of somebody else's."""
    values = plain_values(stack)
    if tls:
        values["ingress"] = values["ingress"] | {"tls": {"kind": tls} | MORE.get(tls, {})}
    if logs:
        values["observability"] = values.get("observability", {}) | {"logs": LOGS[logs]}
    if operator:
        values["observability"] = values.get("observability", {}) | {
            "prometheus": {"operator": OPERATOR},
            "alerting": {},
        }
    plain = {f"{NAMESPACE}{key}": _text(value) for key, value in values.items()}
    secret = {f"{NAMESPACE}{key}": value for key, value in SECRETS.items()}

    def run() -> None:
        pulumi.runtime.set_all_config(plain | secret, list(secret))
        runpy.run_path(str(PROJECT / "__main__.py"))

    interrupt = signal.getsignal(signal.SIGINT)
    try:
        return record(run, _outputs)
    finally:
        signal.signal(signal.SIGINT, interrupt)
        pulumi.runtime.set_all_config({}, [])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_without_files(value))


def _without_files(value: Any) -> Any:
    """A lab's key files are on the lab's machine only, so a key stands in their place."""
    if isinstance(value, list):
        return [_without_files(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {name: _without_files(each) for name, each in value.items() if name != "keyFile"}
    return plain | ({"key": KEY} if "keyFile" in value else {})


def _outputs(args: MockResourceArgs) -> dict[str, Any]:
    """What the host provider and a cluster would add."""
    return answers(args) | provider(args)
