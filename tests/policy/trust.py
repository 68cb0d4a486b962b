"""Whom the program believes, what it keeps to itself, and what it never takes away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.policy.findings import Finding, label
from tests.policy.objects import objects, of_kind
from tests.support.graph import Graph, Secret

HOSTS, KUBERNETES = "pulumi:providers:host", "pulumi:providers:kubernetes"
CONFIDENTIAL = {"password", "passphrase", "secret", "token", "key", "credential", "credentials", "kubeconfig"}
# Fields of Kubernetes that end in such a word and name something.
NAMES = {"key", "topologyKey"}
FLAG = re.compile(r"--([\w.-]+)=(.+)", re.DOTALL)
WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
RESET = "RESET_LAST_CONTROL_PLANE"


def host_keys_are_verified(graph: Graph) -> Iterator[Finding]:
    """By the provider's known_hosts, or by keys that a connection itself carries; a jump host too."""
    for provider in graph.of_type(HOSTS):
        unknown = dict.fromkeys(
            connection["node"]
            for resource in graph.resources
            if resource.provider.startswith(f"{provider.urn}::")
            for connection in (resource.inputs.get("connection"), *(resource.inputs.get("peers") or ()))
            if connection and not connection.get("hostKeys")
        )
        jump = json.loads(provider.inputs.get("jump") or "{}")
        if jump and not (jump.get("hostKeys") or jump.get("host_keys")):
            unknown[f"jump host {jump['address']}"] = None
        if unknown and not provider.inputs.get("knownHosts"):
            yield Finding(
                resource=label(provider),
                found=f"no knownHosts, and no hostKeys of {', '.join(unknown)}",
                rule_says="host keys are always verified",
                remedy="Set ssh.knownHosts, or hostKeys of each node",
            )


def objects_name_their_provider(graph: Graph) -> Iterator[Finding]:
    for resource in graph.resources:
        if resource.type.startswith(("kubernetes:", "host:")) and not resource.provider:
            yield Finding(
                resource=label(resource),
                found="was given no provider",
                rule_says="objects go to the cluster that this program made, not to the one of the operator's kubeconfig",
                remedy="Pass `parent=self` of a component that has the provider",
            )


def the_kubernetes_provider_knows_its_cluster(graph: Graph) -> Iterator[Finding]:
    for provider in graph.of_type(KUBERNETES):
        if not provider.inputs.get("clusterIdentifier"):
            yield Finding(
                resource=label(provider),
                part="clusterIdentifier",
                found="absent",
                rule_says="a renewed kubeconfig is still the same cluster; else every object would be replaced",
                remedy="Give it the digest of the cluster's CA",
            )


def secrets_are_marked(graph: Graph) -> Iterator[Finding]:
    """By the name of the field, file, variable or flag; and whatever is in a Secret of Kubernetes."""
    for resource in graph.resources:
        for path in _plain_secrets(resource.inputs, ()):
            yield Finding(
                resource=label(resource),
                part=path,
                found="a value in clear",
                rule_says="what is secret is marked so, and encrypted in the state",
                remedy="Wrap it in pulumi.Output.secret, or name a file or a Secret that holds it",
            )
    for secret in of_kind(graph, "Secret"):
        for field in ("data", "stringData"):
            content = secret.resource.inputs.get(field)
            for key, value in content.items() if isinstance(content, dict) else ():
                if not isinstance(value, Secret):
                    yield Finding(
                        resource=label(secret.resource),
                        part=f"{field}.{key}",
                        found="a value in clear",
                        rule_says="what is in a Secret is secret in the state too",
                        remedy="Wrap it in pulumi.Output.secret",
                    )


def data_outlives_destroy(graph: Graph) -> Iterator[Finding]:
    """docs/adr/0005. It protects no resource, since destroy has to work; it says what destroy leaves where it is."""
    for volume in of_kind(graph, "PersistentVolume"):
        policy = volume.spec.get("persistentVolumeReclaimPolicy")
        if policy != "Retain":
            yield Finding(
                resource=label(volume.resource),
                found=f"persistentVolumeReclaimPolicy is {policy or 'absent'}",
                rule_says="destroy keeps data",
                remedy="Set it to Retain",
            )
    for resource in graph.of_type("host:index:Configuration"):
        for step in resource.inputs.get("removal") or ():
            if step["environment"].get(RESET, "no") != "no":
                yield Finding(
                    resource=label(resource),
                    part=step["name"],
                    found=f"{RESET} is {step['environment'][RESET]}",
                    rule_says="destroy keeps the last copy of etcd",
                    remedy="Remove destroy.resetLastControlPlane from the checked-in stack file",
                )


def every_object_has_one_field_manager(graph: Graph) -> Iterator[Finding]:
    for each in objects(graph):
        if not (each.body["metadata"].get("annotations") or {}).get("pulumi.com/patchFieldManager"):
            yield Finding(
                resource=label(each.resource),
                found="no annotation pulumi.com/patchFieldManager",
                rule_says="a create that was interrupted is repeated under the same name (components/field_manager.py)",
                remedy="Declare it after use_one_field_manager()",
            )


def _plain_secrets(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Paths of texts in clear below names that say they are secret."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            flag = FLAG.fullmatch(each) if isinstance(each, str) else None
            if flag and _confidential(flag[1]):
                yield ".".join((*path, f"--{flag[1]}"))
            yield from _plain_secrets(each, (*path, str(number)))
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and isinstance(value.get("value"), str) and _confidential(value["name"]):
            yield ".".join((*path, value["name"]))
        for name, each in value.items():
            # A file is a mapping; what is in it is its content.
            text = each.get("content") if isinstance(each, dict) else each
            if _confidential(name) and name not in NAMES and isinstance(text, str) and text:
                yield ".".join((*path, name))
            yield from _plain_secrets(each, (*path, name))


def _confidential(name: str) -> bool:
    """Whether its last word is one of those: `redisPassword`, `--api-key`, `/etc/ssl/ca.key`; not `privateKeyFile`."""
    words = WORD.findall(name)
    return bool(words) and words[-1].lower() in CONFIDENTIAL


RULES = (
    host_keys_are_verified,
    objects_name_their_provider,
    the_kubernetes_provider_knows_its_cluster,
    secrets_are_marked,
    data_outlives_destroy,
    every_object_has_one_field_manager,
)
