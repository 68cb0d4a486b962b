"""One name for everything this program applies in the cluster.

The Kubernetes provider invents a field manager for each object at its creation. A create that was interrupted before the engine
wrote it down is repeated under another name, and from then on the two names fight over every field. A fixed name makes the
repeated create adopt its own object.
"""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs, ObjectMetaPatchArgs

FIELD_MANAGER = "pulumi-qwen3-vl"
ANNOTATION = "pulumi.com/patchFieldManager"


def use_one_field_manager() -> None:
    """Give every Kubernetes object of this program the same field manager; call it before the first one is declared."""
    pulumi.runtime.register_stack_transformation(annotate)


def annotate(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """The transformation: adds the annotation the provider reads the name from."""
    if not args.type_.startswith("kubernetes:"):
        return None
    props: dict[str, Any] = dict(args.props)
    metadata = props.get("metadata")
    if isinstance(metadata, ObjectMetaArgs | ObjectMetaPatchArgs):
        # Arguments may be shared by several objects, so they are not changed in place.
        known = {key: getattr(metadata, key) for key in ("name", "namespace", "labels", "annotations")}
        props["metadata"] = type(metadata)(**{**known, "annotations": managed(known["annotations"])})
    else:
        fields = dict(metadata or {})
        props["metadata"] = {**fields, "annotations": managed(fields.get("annotations"))}
    return pulumi.ResourceTransformationResult(props, args.opts)


def managed(given: Any) -> dict[str, Any]:
    """What the object was given, and the name."""
    return {**(given or {}), ANNOTATION: FIELD_MANAGER}
