"""The list of images that are scanned is what the pods run, whoever adds or removes one."""

from __future__ import annotations

import pytest

from components.observability.scanned_images import of_kubeadm, scanned_images
from components.settings.parse import parse
from components.settings.stack_file import plain_values
from tests.policy.objects import all_containers
from tests.policy.program import program
from tests.support.manifests import STACKS


@pytest.mark.parametrize("stack", STACKS)
def test_what_runs_is_what_is_scanned(stack: str) -> None:
    values = plain_values(stack)
    values["mirrors"] = {key: value for key, value in (values.get("mirrors") or {}).items() if key != "images"}
    settings = parse(values)
    run = {container["image"] for _, container in all_containers(program(stack))}
    scanned = scanned_images(settings)
    assert set(scanned.values()) - set(of_kubeadm(settings).values()) == run
