"""Bills of materials of our own images, made of what they are really made of."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tools import sbom
from tools.sbom import ROOT, SbomProblem, bill, component, of_program

PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", re.MULTILINE)


@pytest.mark.parametrize("name", ["webui", "model-cache"])
def test_every_pinned_package_is_in_it_and_nothing_else(name: str) -> None:
    pinned = PIN.findall((ROOT / "images" / name / "requirements.txt").read_text())
    found = bill(name, "registry.example.com/it:v1@sha256:ab")
    assert found["specVersion"] == sbom.SPEC
    listed = {(each["name"].lower(), each["version"]) for each in found["components"]}
    assert listed == {(package.lower(), version) for package, version in pinned}
    assert all(each["purl"].startswith("pkg:pypi/") for each in found["components"])
    about = found["metadata"]
    assert (about["component"]["name"], about["component"]["version"]) == ("registry.example.com/it:v1", "sha256:ab")
    assert [each["value"] for each in about["properties"] if each["name"] == "qwen3-vl:scope"] == [sbom.SCOPE]
    assert bill(name, "registry.example.com/it:v1@sha256:ab") == found, "the same twice"


def test_a_go_program_names_its_modules() -> None:
    program = ROOT / ".toolchain/bin/pulumi"
    found = of_program(program)
    text = subprocess.run(["go", "version", "-m", str(program)], capture_output=True, text=True, check=True).stdout
    dependencies = [line.split("\t")[2:4] for line in text.splitlines() if line.startswith("\tdep\t")]
    replaced = [line.split("\t")[2:4] for line in text.splitlines() if line.startswith("\t=>\t")]
    listed = {(each["name"], each["version"]) for each in found["components"]}
    assert len(listed) == len(dependencies) + 1
    assert {tuple(pair) for pair in replaced} <= listed
    assert ("std", text.splitlines()[0].split("go")[-1]) in listed


def test_the_purl_of_a_module() -> None:
    made = component({"Path": "github.com/go-acme/lego/v4", "Version": "v4.28.0", "Sum": "h1:abc="})
    assert made["purl"] == "pkg:golang/github.com/go-acme/lego/v4@v4.28.0"
    assert made["properties"] == [{"name": "go:sum", "value": "h1:abc="}]


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SbomProblem, match=r"Build it as images/acme-issuer/README\.md says"):
        of_program(tmp_path / "acme-issuer")


def test_the_file_lies_where_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sbom", "--to", str(tmp_path / "out"), "model-cache"])
    assert sbom.main() == 0
    assert json.loads((tmp_path / "out/model-cache.cdx.json").read_text())["bomFormat"] == "CycloneDX"
