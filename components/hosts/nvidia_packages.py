"""Which packages a node's NVIDIA driver and container toolkit are, and where they come from: pure, by table.

Names are those of NVIDIA's own repositories (Driver Installation Guide, "Compute-only"): no X server, no desktop. Ubuntu's carry
the branch in their names up to 580, Debian's never did.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from components.apt import RemoteKey, Repository, repository
from components.hosts.facts import OperatingSystem
from components.settings import AptMirror, Mirrors
from components.settings.gpu import GpuDriver, Toolkit
from components.versions import CUDA_KEY_FINGERPRINT, NVIDIA_DRIVER, NVIDIA_DRIVERS, TOOLKIT_KEY_FINGERPRINT

CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"
TOOLKIT = "https://nvidia.github.io/libnvidia-container"
# One key signs the repositories of all distributions, so it can be fetched before the distribution is known.
CUDA_KEY = f"{CUDA}/ubuntu2404/x86_64/3bf863cc.pub"
LAST_BRANCH_IN_NAMES = 580
NVIDIA_VENDOR = "10de"


class Generation(StrEnum):
    """What decides about the kernel module: before Turing only the proprietary one, from Blackwell on only the open one."""

    BEFORE_TURING = "before Turing"
    TURING_TO_HOPPER = "Turing to Hopper"
    BLACKWELL = "Blackwell"


def generation(pci: str) -> Generation | None:
    """Generation of a GPU by its PCI id `vendor:device`; None if it is not NVIDIA's.

    NVIDIA numbers devices upwards: TU102, the first Turing, begins at 1e02 (GV100 ends at 1dff), GB100, the first Blackwell, at
    2901 (AD107 ends below 2900; GH100 is 23xx): https://pci-ids.ucw.cz/read/PC/10de
    """
    vendor, _, device = pci.partition(":")
    if vendor != NVIDIA_VENDOR:
        return None
    number = int(device, 16)
    if number < 0x1E00:
        return Generation.BEFORE_TURING
    return Generation.TURING_TO_HOPPER if number < 0x2900 else Generation.BLACKWELL


def module(driver: GpuDriver, gpus: Iterable[str]) -> str:
    """`open` or `proprietary`: as set, or by the GPUs that were found. None found (they may be hidden): the newer kind."""
    if driver.module != "auto":
        return driver.module
    return "proprietary" if Generation.BEFORE_TURING in map(generation, gpus) else "open"


def distribution(os: OperatingSystem) -> str:
    """As NVIDIA spells it: ubuntu2204, debian12."""
    return os.id + os.version_id.replace(".", "")


def driver_version(driver: GpuDriver, os: OperatingSystem) -> str:
    return driver.version or NVIDIA_DRIVERS.get(distribution(os), NVIDIA_DRIVER)


def package_version(driver: GpuDriver, os: OperatingSystem) -> str:
    """With the Debian revision."""
    revision = driver.package_revision or ("1" if os.id == "debian" else "0ubuntu1")
    return f"{driver_version(driver, os)}-{revision}"


def driver_packages(driver: GpuDriver, os: OperatingSystem, gpus: Iterable[str], kernel: str) -> dict[str, str]:
    """Package -> version; "" is any, not held. The headers are the running kernel's, which the module is built for."""
    kind, version = module(driver, gpus), package_version(driver, os)
    if os.id == "debian":
        suffix = "-open" if kind == "open" else ""
        names = ["libcuda1", "libnvidia-ml1", "nvidia-driver-cuda", f"nvidia-kernel{suffix}-dkms"]
    else:
        number = int(version.split(".")[0])
        branch = f"-{number}" if number <= LAST_BRANCH_IN_NAMES else ""
        built = branch + ("-open" if kind == "open" else "")
        names = [f"{part}{branch}" for part in ("libnvidia-compute", "nvidia-compute-utils", "nvidia-kernel-common")]
        names += [f"nvidia-dkms{built}", f"nvidia-kernel-source{built}", f"nvidia-utils{branch}"]
    return {f"linux-headers-{kernel}": "", "dkms": "", **dict.fromkeys(names, version)}


def toolkit_packages(toolkit: Toolkit) -> dict[str, str]:
    """CDI needs neither the hook nor libnvidia-container, so the base package is all."""
    return {"nvidia-container-toolkit-base": f"{toolkit.version}-{toolkit.package_revision}"}


def preferences(version: str) -> str:
    """What keeps apt from taking another version of a package that ours only depend on (`>=`): mixed, they do not load."""
    return f"""\
Package: *nvidia* libcuda* libnv*
Pin: version {version}
Pin-Priority: 1001
"""


def toolkit_source(mirrors: Mirrors) -> Repository:
    """The container toolkit's repository, the same for every distribution."""
    if mirrors.nvidia:
        return repository("nvidia", mirrors.nvidia)
    mirror = AptMirror(url=f"{TOOLKIT}/stable/deb/amd64", key_url=f"{TOOLKIT}/gpgkey")
    return repository("nvidia-container-toolkit", mirror, TOOLKIT_KEY_FINGERPRINT)


def driver_source(mirrors: Mirrors, os: OperatingSystem) -> Repository:
    """The driver's repository, one for each distribution, or the mirror that has both."""
    if mirrors.nvidia:
        return repository("nvidia", mirrors.nvidia)
    mirror = AptMirror(url=f"{CUDA}/{distribution(os)}/x86_64", key_url=CUDA_KEY)
    return repository("cuda", mirror, CUDA_KEY_FINGERPRINT)


def remote_keys(mirrors: Mirrors, owner: str) -> tuple[RemoteKey, ...]:
    """Keys a GPU worker fetches before it reads the sources."""
    if owner == "operator":
        return ()
    sources = [toolkit_source(mirrors)]
    if owner == "program" and not mirrors.nvidia:
        sources.append(driver_source(mirrors, OperatingSystem()))
    return tuple(source.remote_key for source in sources if source.remote_key)
