"""Every namespace takes the pods that the program puts there."""

from __future__ import annotations

import pytest

from tests.policy.admission import refused
from tests.policy.breaking import STACK, inputs, pod, without
from tests.policy.program import program
from tests.policy.rights import ENFORCE
from tests.support.manifests import STACKS


@pytest.mark.parametrize("stack", STACKS)
def test_no_pod_is_refused(stack: str) -> None:
    assert refused(program(stack)) == []


def test_the_namespace_default_enforces_it_too() -> None:
    graph = without(program(STACK), "Deployment qwen3-vl", pod(lambda spec: spec.update(hostNetwork=True)))
    assert refused(graph) == ["default/qwen3-vl-webui: hostNetwork"]


def test_what_needs_more_than_restricted_would_be_refused_there() -> None:
    graph = without(
        program(STACK),
        "Namespace flannel-namespace",
        inputs(lambda values: values["metadata"]["labels"].update({ENFORCE: "restricted"})),
    )
    found = refused(graph)
    assert "kube-flannel/kube-flannel-ds: hostNetwork" in found
    assert "kube-flannel/kube-flannel-ds: volume hostPath" in found
    assert "kube-flannel/kube-flannel-ds: kube-flannel capabilities.add" in found
