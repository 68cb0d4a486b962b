"""One build of the whole lab for all cluster tests; the files are numbered: each leaves the cluster healthy for the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import Lab
from tests.support.stack import Result, Stack


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", choices=("short", "full"), default="short", help="how many faults the chaos tests try")
    parser.addoption("--keep", action="store_true", help="start from the cluster as it is, not from bare nodes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    rarely = pytest.mark.skip(reason="takes minutes; `make chaos` runs it")
    for item in items:
        if "tests/cluster" in str(item.path):
            item.add_marker(pytest.mark.cluster)
        if item.get_closest_marker("chaos") and config.getoption("--chaos") != "full":
            item.add_marker(rarely)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab("lab")


@pytest.fixture(scope="session")
def small() -> Iterator[Lab]:
    other = Lab("small")
    yield other
    other.run("down")


@pytest.fixture(scope="session")
def fresh_stack(lab: Lab, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Stack:
    """The lab stack on bare nodes: nothing is installed on any of them yet."""
    lab.run("up", seconds=3600)
    if not request.config.getoption("--keep"):
        lab.run("reset")
    lab.deliver_model()
    return Stack("lab", Path(tmp_path_factory.mktemp("stack")))


@pytest.fixture(scope="session")
def first_up(fresh_stack: Stack) -> Result:
    """The build from bare nodes to a running service."""
    return fresh_stack.up().ok()


@pytest.fixture
def stack(fresh_stack: Stack, first_up: Result) -> Stack:
    """The built stack."""
    assert first_up.code == 0
    return fresh_stack
