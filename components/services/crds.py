"""Custom resource definitions of the services we run, cut down to the parts that are used here.

The controllers refuse to start, or wait for ever, unless each kind that they watch exists. Group, version, kind and scope
have to be upstream's own; the schemas need not be: fields this project sets are declared and checked by the API server,
all others are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions.v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionNamesArgs,
    CustomResourceDefinitionSpecArgs,
    CustomResourceDefinitionVersionArgs,
    CustomResourceSubresourcesArgs,
    CustomResourceValidationArgs,
    JSONSchemaPropsArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

STRING = JSONSchemaPropsArgs(type="string")
STRINGS = JSONSchemaPropsArgs(type="array", items=STRING)


def open_object(
    properties: Mapping[str, JSONSchemaPropsArgs] | None = None, required: tuple[str, ...] = ()
) -> JSONSchemaPropsArgs:
    """An object whose `properties` are checked and whose other fields are kept unchecked."""
    return JSONSchemaPropsArgs(
        type="object",
        properties=dict(properties) if properties else None,
        required=list(required) or None,
        x_kubernetes_preserve_unknown_fields=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """One kind of a custom API: namespaced, stored in `version`, which is also served."""

    group: str
    version: str
    kind: str
    plural: str
    spec: JSONSchemaPropsArgs = field(default_factory=open_object)
    spec_required: bool = True
    also_served: tuple[str, ...] = ()  # older versions; objects differ from the stored ones in their version only
    status: bool = False  # has a /status of its own, which the controller may write and users may not

    @property
    def name(self) -> str:
        return f"{self.plural}.{self.group}"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"

    def version_args(self, version: str) -> CustomResourceDefinitionVersionArgs:
        return CustomResourceDefinitionVersionArgs(
            name=version,
            served=True,
            storage=version == self.version,
            subresources=CustomResourceSubresourcesArgs(status={}) if self.status else None,
            schema=CustomResourceValidationArgs(
                open_apiv3_schema=JSONSchemaPropsArgs(
                    type="object",
                    properties={
                        "apiVersion": STRING,
                        "kind": STRING,
                        "metadata": JSONSchemaPropsArgs(type="object"),
                        "spec": self.spec,
                        "status": open_object(),
                    },
                    required=["spec"] if self.spec_required else None,
                )
            ),
        )


def define(definition: Definition, labels: Mapping[str, str], parent: pulumi.Resource) -> CustomResourceDefinition:
    """The definition as a resource, a child of `parent` and named by its Kubernetes name."""
    metadata: dict[str, Any] = {"name": definition.name, "labels": dict(labels)}
    return CustomResourceDefinition(
        definition.name,
        metadata=ObjectMetaArgs(**metadata),
        spec=CustomResourceDefinitionSpecArgs(
            group=definition.group,
            names=CustomResourceDefinitionNamesArgs(
                kind=definition.kind,
                list_kind=f"{definition.kind}List",
                plural=definition.plural,
                singular=definition.kind.lower(),
            ),
            scope="Namespaced",
            versions=[definition.version_args(each) for each in (*definition.also_served, definition.version)],
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    )
