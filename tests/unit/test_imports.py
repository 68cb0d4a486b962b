"""Who may import whom: layers know the foundation only, the settings know no Pulumi."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("hosts", "cluster", "services", "inference", "observability")
COMPONENTS = ROOT / "components"
ENGINE = ("pulumi", "pulumi_kubernetes", "pulumi_command")


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every module a source imports, wherever in the file it does so.

    `from x import y` counts as `x.y`, because y may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from ((node.lineno, f"{module}.{name.name}") for name in node.names)


def files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, ".".join(path.relative_to(ROOT).parts[:-1])


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def foreign_layers(source: str, package: str, own: str) -> list[tuple[int, str]]:
    others = [f"components.{layer}" for layer in LAYERS if layer != own]
    return [(line, name) for line, name in imports(source, package) if any(inside(name, other) for other in others)]


def test_every_folder_of_components_is_a_layer_or_of_the_foundation() -> None:
    folders = {path.name for path in COMPONENTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*LAYERS, "settings", "capacity"}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_no_other_layer(layer: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, package in files(COMPONENTS / layer)
        for line, name in foreign_layers(path.read_text(), package, layer)
    ]
    assert found == []


def test_the_foundation_imports_no_layer_and_not_the_program() -> None:
    foundation = [(path, "components") for path in sorted(COMPONENTS.glob("*.py"))] + [
        *files(COMPONENTS / "settings"),
        *files(COMPONENTS / "capacity"),
        *files(ROOT / "host"),
    ]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, package in foundation
        for line, name in foreign_layers(path.read_text(), package, "")
    ]
    assert found == []


def test_the_settings_import_no_pulumi_except_in_the_module_that_reads_the_stack() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, package in files(COMPONENTS / "settings")
        if path != COMPONENTS / "settings" / "stack.py"
        for line, name in imports(path.read_text(), package)
        if any(inside(name, engine) for engine in ENGINE)
        or inside(name, "host")
        or inside(name, "components.settings.stack")
    ]
    assert found == []


def test_the_capacity_model_knows_nothing_but_itself() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, package in files(COMPONENTS / "capacity")
        for line, name in imports(path.read_text(), package)
        if (inside(name, "components") and not inside(name, "components.capacity"))
        or any(inside(name, other) for other in (*ENGINE, "pydantic", "host"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "from components.cluster.flannel import Flannel",
        "import components.cluster",
        "from components import cluster",
        "from ..cluster import flannel",
        "def late():\n    from components.cluster import flannel",
    ],
)
def test_every_way_to_import_a_layer_is_seen(source: str) -> None:
    assert foreign_layers(source, "components.hosts", "hosts")
    assert not foreign_layers(source, "components.cluster", "cluster")


@pytest.mark.parametrize("source", ["from components.settings import Settings", "import components", "import cluster"])
def test_the_foundation_may_be_imported(source: str) -> None:
    assert not foreign_layers(source, "components.hosts", "hosts")
