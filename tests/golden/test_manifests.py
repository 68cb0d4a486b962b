"""Every Kubernetes object of the layers above the cluster for the production stack, and what the lab's changes."""

from __future__ import annotations

import pytest

from components.settings.parse import parse
from tests.support.golden import compare
from tests.support.manifests import Manifest, graph, manifests, owner, stack_graph, to_yaml
from tests.support.settings import with_value

COMPONENTS = (
    "gpu",
    "metallb",
    "model-cache",
    "observability",
    "policies",
    "qwen3-vl",
    "qwen3-vl-hpa",
    "redis",
    "traefik",
)


def is_definition(manifest: Manifest) -> bool:
    return manifest.kind == "CustomResourceDefinition"


def test_every_object_has_a_golden_file() -> None:
    found = stack_graph("prod")
    assert {owner(found, manifest.resource) for manifest in manifests(found)} == set(COMPONENTS)


@pytest.mark.parametrize(
    ("stack", "component"),
    [*(("prod", each) for each in COMPONENTS), ("lab", "qwen3-vl"), ("lab", "model-cache"), ("small", "policies")],
)
def test_objects(stack: str, component: str) -> None:
    found = stack_graph(stack)
    mine = manifests(found, lambda each: owner(found, each.resource) == component and not is_definition(each))
    compare(f"manifests/{stack}/{component}.yaml", to_yaml(mine))


def test_definitions() -> None:
    compare("manifests/definitions.yaml", to_yaml(manifests(stack_graph("prod"), is_definition)))


def test_what_taints_sick_nodes() -> None:
    found = graph(parse(with_value(("gpu", "taintSickNodes"), True)))
    mine = manifests(found, lambda each: "gpu-health" in each.name)
    compare("manifests/gpu-health.yaml", to_yaml(mine))
