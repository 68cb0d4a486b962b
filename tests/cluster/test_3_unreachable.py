"""A node that is off is unknown, and stops nobody else."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.support.lab import Lab
from tests.support.stack import Stack


@pytest.fixture
def without_power(lab: Lab) -> Iterator[str]:
    lab.run("kill", "storage-1")
    yield "storage-1"
    lab.run("start", "storage-1")


def test_preview_and_an_unrelated_up_go_on_and_name_the_unknown_node(stack: Stack, without_power: str) -> None:
    preview = stack.preview("--expect-no-changes").ok()
    assert [line for line in preview.messages if line.startswith(f"{without_power}: unknown")]

    edited = copy.deepcopy(stack)
    edited.config["config"]["qwen3-vl:redis"] = {"memoryMib": 300}
    up = edited.up().ok()
    assert up.changes(), "the edit must change something"
    assert not [name for name in up.changes() if name.startswith(without_power)]
    assert [line for line in up.messages if line.startswith(f"{without_power}: unknown")]
    stack.up().ok()
