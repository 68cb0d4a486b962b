"""Every object against the schema of its API: Kubernetes' own, of the version that the nodes get, or the graph's definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from kubernetes_validate.utils import schema_contents  # type: ignore[import-untyped]
from referencing import Registry, Resource

from tests.policy.findings import Finding, label
from tests.policy.objects import is_patch, objects, of_kind
from tests.support.graph import Graph
from tests.support.manifests import Manifest

# Kinds of whoever is there already, with their own definitions: tests/engine/test_prometheus_operator.py asks those.
THEIRS = ("monitoring.coreos.com/",)
SECRET_FIELDS = ("data", "stringData")


def objects_fit_their_schema(graph: Graph) -> Iterator[Finding]:
    """Strictly: a field that the schema does not know is a mistake, although the API server would drop it in silence."""
    minor, defined = kubernetes_minor(graph), definitions(graph)
    for each in objects(graph):
        if is_patch(each) or each.body["apiVersion"].startswith(THEIRS):
            continue  # a part of an object lacks what is required of the whole; theirs are asked elsewhere
        kind = (each.body["apiVersion"], each.kind)
        if kind in defined:
            errors = tuple(_errors(Draft202012Validator(defined[kind]), each.body))
        else:
            errors = _errors_of_text(json.dumps(_without_secrets(each), sort_keys=True), *kind, minor)
        for path, message in errors:
            yield Finding(
                resource=label(each.resource),
                part=path,
                found=message,
                rule_says=f"{each.kind} of {each.body['apiVersion']} has a schema",
                remedy="Look the field up with `kubectl explain`",
            )


def kubernetes_minor(graph: Graph) -> str:
    """Of the kubelets that the nodes of this graph get."""
    packages = [each.inputs.get("packages") or {} for each in graph.of_type("host:index:Configuration")]
    (minor,) = {".".join(each["kubelet"].split(".")[:2]) for each in packages if "kubelet" in each}
    return minor


def definitions(graph: Graph) -> dict[tuple[str, str], dict[str, Any]]:
    """(apiVersion, kind) -> schema of the custom kinds."""
    return {
        (f"{each.spec['group']}/{version['name']}", each.spec["names"]["kind"]): version["schema"]["openAPIV3Schema"]
        for each in of_kind(graph, "CustomResourceDefinition")
        for version in each.spec["versions"]
        if version["served"]
    }


@cache
def _errors_of_text(text: str, api_version: str, kind: str, minor: str) -> tuple[tuple[str, str], ...]:
    """Most objects are the same in every stack, and each takes milliseconds."""
    try:
        validator = _validator(api_version, kind, minor)
    except FileNotFoundError:
        return (("kind", f"Kubernetes {minor} has no {kind} of {api_version}, and the graph does not define it"),)
    return tuple(_errors(validator, json.loads(text)))


def _errors(validator: Draft202012Validator, body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for error in validator.iter_errors(body):
        yield ".".join(str(step) for step in error.absolute_path), error.message


@cache
def _validator(api_version: str, kind: str, minor: str) -> Draft202012Validator:
    """As kubernetes_validate.validate makes it, which reads a megabyte of definitions for each object anew."""
    group, _, version = api_version.rpartition("/")
    name = "-".join([kind.lower(), *([group.partition(".")[0]] if group else []), version])
    schema = _contents(f"{name}.json", minor)
    registry: Registry[Any] = Resource.from_contents(schema) @ Registry()
    return Draft202012Validator(
        schema, registry=Resource.from_contents(_contents("_definitions.json", minor)) @ registry
    )


@cache
def _contents(file: str, minor: str) -> Any:
    return schema_contents(f"kubernetes-json-schema/v{minor}.0-local-strict/{file}", minor)


def _without_secrets(manifest: Manifest) -> dict[str, Any]:
    """Of what is secret the graph shows no more than that it is."""
    return {name: value for name, value in manifest.body.items() if name not in SECRET_FIELDS or value != "[secret]"}


RULES = (objects_fit_their_schema,)
