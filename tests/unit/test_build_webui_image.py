"""The command that builds the web UI's image, with programs in place of docker and buildah that note how they were called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from components.inference.webui_image import SCRIPT, SOURCES, build_environment
from components.settings.parse import parse
from tests.support.settings import with_value

DIGEST = f"sha256:{'cd' * 32}"
DOCKER = f"""#!/bin/bash
echo "docker $*" >> "$CALLS"
pwd >> "$CALLS"
if [ "$1" = image ]; then
  printf '%s\\n' other.example.com/team/webui@sha256:00 "${{PUSHED-10.0.0.5:5000/team/webui@{DIGEST}}}"
else
  echo "noise of the build"
fi
"""
BUILDAH = f"""#!/bin/bash
echo "buildah $*" >> "$CALLS"
pwd >> "$CALLS"
echo "noise of the build"
while [ $# -gt 0 ]; do
  if [ "$1" = --digestfile ]; then echo -n "${{PUSHED-{DIGEST}}}" > "$2"; fi
  shift
done
"""
REFERENCE = "10.0.0.5:5000/team/webui:v2"


def run(folder: Path, *, present: bool = True, **given: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    programs = folder / "bin"
    programs.mkdir()
    if present:
        for name, text in (("docker", DOCKER), ("buildah", BUILDAH)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
    path = f"{programs}:/usr/bin:/bin" if present else str(programs)
    calls = folder / "calls"
    calls.touch()
    environment = {"PATH": path, "CALLS": str(calls), "TOOL": "docker", "REFERENCE": REFERENCE, **given}
    done = subprocess.run(
        ["/bin/bash", str(SCRIPT)], env=environment, capture_output=True, text=True, cwd="/", timeout=60
    )
    return done, calls.read_text().splitlines()


@pytest.mark.parametrize("tool", ["docker", "buildah"])
def test_the_reference_with_its_digest_is_the_last_line(tmp_path: Path, tool: str) -> None:
    done, calls = run(tmp_path, TOOL=tool, PYTHON_IMAGE="10.0.0.5:5000/python:3.11", PIP_INDEX_URL="http://pip")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{REFERENCE}@{DIGEST}"
    assert "noise" in done.stderr
    arguments = "--build-arg PYTHON_IMAGE=10.0.0.5:5000/python:3.11 --build-arg PIP_INDEX_URL=http://pip"
    assert arguments in calls[0]
    assert calls[1] == str(SOURCES)
    assert any("push" in call for call in calls)


@pytest.mark.parametrize("tool", ["docker", "buildah"])
def test_only_the_reference_is_said(tmp_path: Path, tool: str) -> None:
    done, calls = run(tmp_path, TOOL=tool)
    assert done.stdout == f"{REFERENCE}@{DIGEST}\n"
    assert not any("--build-arg" in call for call in calls)
    assert not any("--tls-verify=false" in call for call in calls)


def test_a_registry_without_tls(tmp_path: Path) -> None:
    _, calls = run(tmp_path, TOOL="buildah", PLAIN_HTTP="true")
    assert sum("--tls-verify=false" in call for call in calls) == 2


@pytest.mark.parametrize("tool", ["docker", "buildah"])
def test_no_digest_is_a_failure_that_says_what_to_do(tmp_path: Path, tool: str) -> None:
    done, _ = run(tmp_path, TOOL=tool, PUSHED="")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "images.overrides.webui" in done.stderr


def test_a_tool_that_is_not_there_is_named(tmp_path: Path) -> None:
    os.symlink("/usr/bin/dirname", tmp_path / "dirname")
    done, _ = run(tmp_path, present=False, PATH=str(tmp_path))
    assert done.returncode == 1
    assert "images.build.tool: no program `docker`" in done.stderr


def test_what_the_script_reads_is_what_it_is_given() -> None:
    settings = parse(with_value(("images", "build"), {"tool": "buildah"}))
    given = build_environment(settings.images)
    assert given["REFERENCE"] == "registry.example.com/qwen3-vl-webui:v1.0"
    text = SCRIPT.read_text()
    assert all(name in text for name in given)
    assert not [name for name in given if "PASSWORD" in name or "TOKEN" in name]
