"""apt sources and keys."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from components.apt import armour, crc24, key_text, repository, source_lines
from components.cluster.kubernetes_packages import kubernetes_repository, package_versions
from components.settings import AptMirror, Kubernetes, Mirrors
from components.versions import KUBERNETES_KEY_FINGERPRINT

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nbm90IGEga2V5\n-----END PGP PUBLIC KEY BLOCK-----"


def test_crc24_of_the_standard_check_string() -> None:
    assert crc24(b"123456789") == 0x21CF02  # catalogue of CRC algorithms, CRC-24/OPENPGP


@pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg")
def test_gpg_reads_the_armour_back(tmp_path: Path) -> None:
    content = bytes(range(256))
    done = subprocess.run(
        ["gpg", "--homedir", str(tmp_path), "--dearmor"],
        input=armour(content).encode(),
        capture_output=True,
        check=True,
    )
    assert done.stdout == content


def test_a_flat_repository_has_no_components() -> None:
    mirror = AptMirror(url="http://10.0.0.5/kubernetes", suite="./", components=("main",))
    assert source_lines(mirror, "/k.asc") == "deb [signed-by=/k.asc] http://10.0.0.5/kubernetes ./\n"


def test_each_suite_has_its_line() -> None:
    mirror = AptMirror(url="http://10.0.0.5/ubuntu", suite="jammy jammy-security", components=("main", "universe"))
    assert source_lines(mirror, None).splitlines() == [
        "deb http://10.0.0.5/ubuntu jammy main universe",
        "deb http://10.0.0.5/ubuntu jammy-security main universe",
    ]


def test_a_key_file_may_be_binary(tmp_path: Path) -> None:
    binary, armoured = tmp_path / "key.gpg", tmp_path / "key.asc"
    binary.write_bytes(b"\x99\x01\x0d")
    armoured.write_text(KEY)
    assert key_text(AptMirror(url="http://m/", key_file=str(binary))) == armour(b"\x99\x01\x0d")
    assert key_text(AptMirror(url="http://m/", key_file=str(armoured))) == KEY


def test_a_key_at_hand_is_a_file_and_a_remote_one_a_task_of_the_node() -> None:
    inline = repository("kubernetes", AptMirror(url="http://m", key=KEY))
    assert (inline.key, inline.remote_key) == (KEY + "\n", None)
    remote = repository("kubernetes", AptMirror(url="https://m", key_url="https://m/archive.gpg", key_sha256="ab" * 32))
    assert remote.key is None
    assert remote.remote_key is not None
    assert remote.remote_key.path == remote.keyring == "/etc/apt/keyrings/kubernetes.gpg"
    assert remote.remote_key.sha256 == "ab" * 32


def test_upstreams_key_is_known_by_its_fingerprint_and_a_mirrors_is_not() -> None:
    upstream = kubernetes_repository(Kubernetes(version="1.33.5"), Mirrors()).remote_key
    assert upstream is not None
    assert upstream.url == "https://pkgs.k8s.io/core:/stable:/v1.33/deb/Release.key"
    assert upstream.fingerprint == KUBERNETES_KEY_FINGERPRINT
    mirror = AptMirror(url="https://m", key_url="https://m/key.asc")
    mirrored = kubernetes_repository(Kubernetes(), Mirrors(kubernetes=mirror)).remote_key
    assert mirrored is not None
    assert mirrored.fingerprint == ""


def test_kubernetes_is_pinned_and_what_the_distribution_keeps_current_is_not() -> None:
    versions = package_versions(Kubernetes(version="1.34.2", package_revision="1.1"))
    assert {versions[name] for name in ("kubeadm", "kubectl", "kubelet")} == {"1.34.2-1.1"}
    assert versions["kubernetes-cni"]
    assert versions["containerd"] == ""
    assert package_versions(Kubernetes(version="1.30.1"))["kubernetes-cni"] == ""
