"""Preflight of GPU workers: cards, driver, and room for the replicas that run on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from components.hosts.findings import Message, Subject
from components.hosts.nvidia_packages import Generation, driver_version, generation
from components.settings.syntax import quantity

LAST_BEFORE_TURING = 580  # NVIDIA's "Unix graphics feature deprecation schedule"
FIRST_BLACKWELL = 570  # NVIDIA driver 570 release notes
# What a worker keeps for its system, its DaemonSets and the gateway before the model server's pods get the rest.
RESERVED_CPUS, RESERVED_MIB = 0.5, 1536


def check_gpus(subject: Subject) -> Iterator[Message]:
    if subject.facts.gpus is None:
        return
    found, declared = len(subject.facts.gpus), subject.node.gpus
    if found < declared:
        yield Message(
            "gpus",
            subject.node.name,
            f"{found} GPUs on the PCI bus; the settings declare {declared}. Correct `gpus`, or seat the missing card",
        )
    elif found > declared:
        yield Message(
            "gpus", subject.node.name, f"{found} GPUs on the PCI bus; only {declared} are declared", warning=True
        )


def check_secure_boot(subject: Subject) -> Iterator[Message]:
    if subject.facts.secure_boot == "on" and subject.node.gpus and subject.gpu.driver.owner == "program":
        yield Message(
            "secure-boot",
            subject.node.name,
            "Secure Boot is on, and no key for modules built on the node is enrolled; the kernel would refuse the NVIDIA "
            "driver. Switch Secure Boot off in the firmware, or install a signed driver and set gpu.driver.owner to installed, "
            "or enrol the key (`mokutil --import`) at the console",
        )


def check_gpu_generation(subject: Subject) -> Iterator[Message]:
    """The driver that would be installed, against the GPUs that are there."""
    facts, driver = subject.facts, subject.gpu.driver
    if driver.owner != "program" or not subject.node.gpus or facts.os is None:
        return
    generations = {found for pci in facts.gpus or () if (found := generation(pci))}
    branch = int(driver_version(subject.gpu.driver, facts.os).split(".")[0])
    if Generation.BEFORE_TURING in generations and Generation.BLACKWELL in generations:
        text = "GPUs older than Turing beside Blackwell; no kernel module serves both. Move one kind to another machine"
    elif Generation.BEFORE_TURING in generations and driver.module == "open":
        text = "a GPU older than Turing; the open kernel module does not know it. Set gpu.driver.module to auto"
    elif Generation.BLACKWELL in generations and driver.module == "proprietary":
        text = "a Blackwell GPU; it needs the open kernel module. Set gpu.driver.module to auto"
    elif Generation.BEFORE_TURING in generations and branch > LAST_BEFORE_TURING:
        text = f"a GPU older than Turing; {LAST_BEFORE_TURING} is its last driver branch, not {branch}. Set gpu.driver.version"
    elif Generation.BLACKWELL in generations and branch < FIRST_BLACKWELL:
        text = f"a Blackwell GPU; {FIRST_BLACKWELL} is its first driver branch, not {branch}. Set gpu.driver.version"
    else:
        return
    yield Message("gpu-generation", subject.node.name, text)


def check_pods(subject: Subject) -> Iterator[Message]:
    """As many replicas as the node has GPUs, or as there are; one that does not fit would wait for room that never comes."""
    facts, inference = subject.facts, subject.inference
    count = min(subject.node.gpus, inference.replicas)
    if not count or facts.cpus is None or facts.memory_mib is None:
        return
    cpus = count * (quantity(inference.cpu) + quantity(inference.webui_cpu)) + RESERVED_CPUS
    mib = count * (quantity(inference.memory) + quantity(inference.webui_memory)) / 2**20 + RESERVED_MIB
    if cpus > facts.cpus or mib > facts.memory_mib:
        each = f"{inference.cpu} + {inference.webui_cpu} CPUs and {inference.memory} + {inference.webui_memory}"
        yield Message(
            "pods",
            subject.node.name,
            f"{facts.cpus} CPUs and {facts.memory_mib} MiB; {count} replica{'' if count == 1 else 's'} of {each}, and the "
            f"system, need {cpus:g} CPUs and {mib:.0f} MiB. Lower inference.cpu or inference.memory, or downgrade this check",
        )


GPU_CHECKS: tuple[Callable[[Subject], Iterator[Message]], ...] = (
    check_gpus,
    check_pods,
    check_secure_boot,
    check_gpu_generation,
)
