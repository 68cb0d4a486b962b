"""GPUs: one owner of the driver, and sharing that fits into the memory of a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from components.naming import SICK_GPU_TAINT
from components.settings import Settings
from components.settings.problem import Problem

FIRST_OPEN_BRANCH = 515  # the first with open kernel modules: NVIDIA driver 515 release notes
FIRST_JIT_CDI_TOOLKIT = (1, 18)  # makes the CDI description when a container starts: its CHANGELOG, v1.18.0-rc.1


def one_owner(settings: Settings) -> Iterator[Problem]:
    """Whatever somebody else brings has no version and no options here."""
    gpu, owner = settings.gpu, settings.gpu.driver.owner
    if owner == "program":
        return
    who = {"installed": "whoever installed the driver", "operator": "the GPU operator"}[owner]
    for name, key in (("version", "version"), ("package_revision", "packageRevision"), ("module", "module")):
        if name in gpu.driver.model_fields_set:
            rule = f"with `owner: {owner}` that is decided by {who}"
            yield Problem(f"gpu.driver.{key}", "set", rule, "Remove it, or write `owner: program`")
    if owner == "installed":
        return
    for name, key in (("toolkit", "toolkit"), ("time_slicing", "timeSlicing"), ("dcgm_exporter", "dcgmExporter")):
        if name in gpu.model_fields_set:
            rule = "the GPU operator brings its own; two of them would fight over the GPUs"
            yield Problem(f"gpu.{key}", "set with `owner: operator`", rule, "Set it in the operator's ClusterPolicy")


def open_module(settings: Settings) -> Iterator[Problem]:
    driver = settings.gpu.driver
    if driver.module == "open" and driver.version and int(driver.version.split(".")[0]) < FIRST_OPEN_BRANCH:
        rule = f"open kernel modules exist from {FIRST_OPEN_BRANCH} on"
        yield Problem("gpu.driver.module", f"open with {driver.version}", rule, "Choose a newer version")


def toolkit_version(settings: Settings) -> Iterator[Problem]:
    version = settings.gpu.toolkit.version
    if tuple(int(part) for part in version.split(".")[:2]) < FIRST_JIT_CDI_TOOLKIT:
        rule = "older ones use a hook, and a container loses its GPU when systemd reloads its units"
        yield Problem("gpu.toolkit.version", version, rule, "Choose 1.18.0 or newer")


def shared_memory(settings: Settings) -> Iterator[Problem]:
    share, times = settings.inference.gpu_memory_utilization, settings.gpu.time_slicing.replicas
    if times > 1 and share * times > 1:
        found = f"{share:g} with {times} pods on a GPU"
        rule = "time slicing does not divide the memory; together they take at most 1"
        yield Problem("inference.gpuMemoryUtilization", found, rule, f"Write {int(100 / times) / 100:g} or less")


def sick_nodes(settings: Settings) -> Iterator[Problem]:
    """At least half of the GPU nodes stay open to pods, so of one node none is ever tainted."""
    count = len(settings.gpu_workers)
    if settings.gpu.taint_sick_nodes and count < 2:
        found = f"true with {count} node{'s' * (count != 1)} with GPUs"
        rule = "at least half of them stay open to pods, so nothing would ever be tainted"
        yield Problem("gpu.taintSickNodes", found, rule, "Remove it")


def own_taint(settings: Settings) -> Iterator[Problem]:
    if not settings.gpu.taint_sick_nodes:
        return
    for node in settings.nodes:
        for index, taint in enumerate(node.taints):
            if taint.key == SICK_GPU_TAINT:
                rule = "`gpu.taintSickNodes` sets and clears this taint by itself"
                path = f"nodes[{node.name}].taints[{index}].key"
                yield Problem(path, f"`{taint.key}`", rule, "Remove one of the two")
