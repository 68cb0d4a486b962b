"""The pinned kubeadm itself reads the golden configuration files; a key it does not know is an error to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.golden import GOLDEN

ROOT = GOLDEN.parent.parent
FILES = sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("cluster/*/*.yaml"))


@pytest.fixture(scope="module")
def kubeadm() -> Path:
    """The lab's build of kubeadm, if it was made already: it takes minutes, and this test is a fast one."""
    found = subprocess.run([ROOT / "tools/build", "--hash", "kubernetes"], capture_output=True, text=True)
    name, _, digest = found.stdout.strip().partition("\t")
    built = [path for path in (Path.home() / ".cache/qwenvl/builds").glob(f"{name}-{digest}*/kubeadm") if digest]
    if not built:
        pytest.skip("kubeadm is not built; `tools/build kubernetes` does it")
    return built[0]


@pytest.mark.parametrize("name", FILES)
def test_kubeadm_accepts(kubeadm: Path, name: str, tmp_path: Path) -> None:
    text = (GOLDEN / name).read_text()
    for placeholder, value in (("@TOKEN@", "abcdef.0123456789abcdef"), ("@CA_HASH@", "sha256:" + "0" * 64)):
        text = text.replace(placeholder, value)
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("@CERTIFICATE_KEY@", "0" * 64))
    done = subprocess.run([kubeadm, "config", "validate", "--config", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "unknown field" not in done.stderr, done.stderr
