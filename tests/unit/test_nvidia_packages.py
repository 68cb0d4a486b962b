"""Packages and sources of the NVIDIA driver by distribution, branch and generation of the GPUs."""

from __future__ import annotations

import pytest

from components.hosts.facts import OperatingSystem
from components.hosts.nvidia_packages import (
    Generation,
    driver_packages,
    driver_source,
    generation,
    module,
    package_version,
    preferences,
    remote_keys,
    toolkit_source,
)
from components.settings import AptMirror, Mirrors
from components.settings.gpu import GpuDriver
from tests.support.cluster import KEY

FOCAL, JAMMY, NOBLE = (OperatingSystem(id="ubuntu", version_id=v) for v in ("20.04", "22.04", "24.04"))
BOOKWORM = OperatingSystem(id="debian", version_id="12")


@pytest.mark.parametrize(
    ("pci", "wanted"),
    [
        ("10de:15f8", Generation.BEFORE_TURING),  # Tesla P100
        ("10de:1db6", Generation.BEFORE_TURING),  # Tesla V100
        ("10de:1eb8", Generation.TURING_TO_HOPPER),  # T4
        ("10de:20b5", Generation.TURING_TO_HOPPER),  # A100
        ("10de:2684", Generation.TURING_TO_HOPPER),  # RTX 4090
        ("10de:2685", Generation.TURING_TO_HOPPER),  # RTX 4090 D
        ("10de:26b9", Generation.TURING_TO_HOPPER),  # L40S
        ("10de:2330", Generation.TURING_TO_HOPPER),  # H100
        ("10de:2901", Generation.BLACKWELL),  # B200
        ("10de:2b85", Generation.BLACKWELL),  # RTX 5090
        ("1002:74a1", None),  # another maker's
    ],
)
def test_generations_by_pci_id(pci: str, wanted: Generation | None) -> None:
    assert generation(pci) is wanted


def test_the_module_follows_the_gpus_unless_it_is_set() -> None:
    auto = GpuDriver()
    assert module(auto, ["10de:2684"]) == "open"
    assert module(auto, ["10de:2684", "10de:1db6"]) == "proprietary"
    assert module(auto, []) == "open"
    assert module(GpuDriver(module="proprietary"), ["10de:2684"]) == "proprietary"


@pytest.mark.parametrize(
    ("os", "fields", "wanted"),
    [
        (FOCAL, {}, "570.124.06-0ubuntu1"),
        (JAMMY, {}, "580.95.05-0ubuntu1"),
        (NOBLE, {}, "580.95.05-0ubuntu1"),
        (BOOKWORM, {}, "580.95.05-1"),
        (BOOKWORM, {"version": "575.57.08"}, "575.57.08-1"),
        (JAMMY, {"version": "590.44.01", "packageRevision": "1ubuntu1"}, "590.44.01-1ubuntu1"),
    ],
)
def test_versions(os: OperatingSystem, fields: dict[str, str], wanted: str) -> None:
    assert package_version(GpuDriver.model_validate(fields), os) == wanted


@pytest.mark.parametrize(
    ("os", "fields", "names"),
    [
        (
            FOCAL,
            {},
            {"nvidia-dkms-570-open", "nvidia-kernel-source-570-open", "libnvidia-compute-570", "nvidia-utils-570"},
        ),
        (JAMMY, {"module": "proprietary"}, {"nvidia-dkms-580", "nvidia-kernel-source-580", "nvidia-kernel-common-580"}),
        (NOBLE, {"version": "590.44.01"}, {"nvidia-dkms-open", "nvidia-kernel-source-open", "nvidia-utils"}),
        (BOOKWORM, {}, {"nvidia-kernel-open-dkms", "nvidia-driver-cuda", "libcuda1", "libnvidia-ml1"}),
        (BOOKWORM, {"module": "proprietary"}, {"nvidia-kernel-dkms"}),
    ],
)
def test_names(os: OperatingSystem, fields: dict[str, str], names: set[str]) -> None:
    settings = GpuDriver.model_validate(fields)
    found = driver_packages(settings, os, ["10de:2684"], "6.1.0-25")
    assert names <= found.keys()
    assert {found[name] for name in names} == {package_version(settings, os)}
    assert found["linux-headers-6.1.0-25"] == ""
    other = "-open" if settings.module == "proprietary" else "dkms-580$"
    assert not [name for name in found if name.endswith(other)]


def test_every_distribution_has_its_own_source_and_all_share_a_key() -> None:
    for os, folder in ((FOCAL, "ubuntu2004"), (JAMMY, "ubuntu2204"), (NOBLE, "ubuntu2404"), (BOOKWORM, "debian12")):
        source = driver_source(Mirrors(), os)
        assert source.lines == (
            "deb [signed-by=/etc/apt/keyrings/cuda.asc] "
            f"https://developer.download.nvidia.com/compute/cuda/repos/{folder}/x86_64 /\n"
        )
    assert [key.path for key in remote_keys(Mirrors(), "program")] == [
        "/etc/apt/keyrings/nvidia-container-toolkit.asc",
        "/etc/apt/keyrings/cuda.asc",
    ]
    assert [key.path for key in remote_keys(Mirrors(), "installed")] == [
        "/etc/apt/keyrings/nvidia-container-toolkit.asc"
    ]
    assert remote_keys(Mirrors(), "operator") == ()
    assert all(key.fingerprint for key in remote_keys(Mirrors(), "program"))


def test_a_mirror_takes_the_place_of_both() -> None:
    mirrors = Mirrors(nvidia=AptMirror(url="http://10.0.0.5/nvidia", suite="./", key=KEY))
    assert toolkit_source(mirrors) == driver_source(mirrors, JAMMY)
    assert remote_keys(mirrors, "program") == ()
    fetched = Mirrors(nvidia=AptMirror(url="https://10.0.0.5/nvidia", key_url="https://10.0.0.5/key.asc"))
    assert [key.path for key in remote_keys(fetched, "program")] == ["/etc/apt/keyrings/nvidia.asc"]


def test_one_version_is_preferred_for_all_that_it_depends_on() -> None:
    text = preferences("580.95.05-0ubuntu1")
    assert text.splitlines() == [
        "Package: *nvidia* libcuda* libnv*",
        "Pin: version 580.95.05-0ubuntu1",
        "Pin-Priority: 1001",
    ]
