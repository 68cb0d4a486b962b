"""The requirement files of the images name everything: they are installed without looking for more."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
# Debian 12 has 3.11.2, the upstream image a newer 3.11: both have to work.
PYTHONS = ("3.11.2", "3.11.14")


def pinned(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): number for name, number in pairs}


@pytest.mark.parametrize("folder", ["images/webui", "images/model-cache", "lab/engine"])
@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_of_a_requirement_is_named_and_fits(folder: str, python: str) -> None:
    pins = pinned(ROOT / folder / "requirements.txt")
    told = {"python_version": "3.11", "python_full_version": python, "extra": ""}
    environment = {name: str(value) for name, value in {**default_environment(), **told}.items()}
    lacking: list[str] = []
    for name, number in pins.items():
        try:
            assert version(name) == number, f"{name} {version(name)} is installed here, the image has {number}"
        except PackageNotFoundError:
            continue  # one that only the image's older Python needs
        for line in requires(name) or []:
            needed = Requirement(line)
            if needed.marker is not None and not needed.marker.evaluate(environment):
                continue
            found = pins.get(canonicalize_name(needed.name))
            if found is None or not needed.specifier.contains(found, prereleases=True):
                lacking.append(f"{name} needs {needed}, pinned is {found}")
    assert lacking == []
