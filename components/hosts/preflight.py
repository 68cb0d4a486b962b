"""Checks over all nodes before anything is changed: pure, facts and settings in, messages out.

Sizes. An error is what kubeadm itself refuses (kubeadm/app/constants: 2 CPUs and 1700 MB on a control plane); a warning is less
than the operations manual plans for: master 8 CPUs and 16 GB, GPU worker 16 CPUs and 32 GB, storage 32 GB and 1 TB of disk. A
tenth less still passes, because firmware and kernel keep some and vendors count in powers of ten. Disk: kubelet evicts pods when
less than 10 % of the node's or 15 % of the images' filesystem is free (its default hard eviction thresholds).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from components.hosts.facts import NodeFacts
from components.hosts.findings import Message, Subject
from components.hosts.gpu_checks import GPU_CHECKS
from components.settings import Gpu, Inference, Kubernetes, Node, Preflight, Role

SUPPORTED = {("ubuntu", "20.04"), ("ubuntu", "22.04"), ("ubuntu", "24.04"), ("debian", "12")}
ARCHITECTURES = {"x86_64", "amd64"}
MIN_CPUS = {Role.CONTROL_PLANE: 2}
MIN_MEMORY_MIB = {Role.CONTROL_PLANE: 1700}
PLANNED_CPUS = {Role.CONTROL_PLANE: 8, Role.WORKER: 16}
PLANNED_MEMORY_GIB = {Role.CONTROL_PLANE: 16, Role.WORKER: 32, Role.STORAGE: 32}
PLANNED_DISK_GIB = {Role.STORAGE: 1000}
MIN_FREE_GIB = 10.0  # packages, control plane images and logs of a first start take about half of it
MIN_FREE_SHARE = 0.15
MIN_KERNEL = (4, 19)  # k8s.io/system-validators
MIN_KERNEL_NFTABLES = (5, 13)  # kube-proxy's nftables mode
MANY = 6
CLOCK_WARNING_SECONDS = 1.0
CLOCK_ERROR_SECONDS = 30.0
PORTS = {Role.CONTROL_PLANE: (2379, 2380, 10250, 10257, 10259), Role.WORKER: (10250, 10256)}


@dataclass(frozen=True, slots=True)
class Report:
    """All messages, those that stop the program apart from those that do not."""

    findings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def preflight(
    nodes: Sequence[Node],
    facts: Mapping[str, NodeFacts],
    kubernetes: Kubernetes,
    settings: Preflight,
    gpu: Gpu,
    inference: Inference,
) -> Report:
    """Judge every node; unreachable ones are left to whoever has to reach them."""
    subjects = [
        Subject(node, facts[node.name], kubernetes, gpu, inference)
        for node in nodes
        if node.name in facts and facts[node.name].reachable
    ]
    messages = [message for subject in subjects for check in NODE_CHECKS for message in check(subject)]
    messages += [message for cross in CROSS_CHECKS for message in cross(subjects)]
    # A thousand equal machines are one sentence.
    alike: dict[tuple[bool, str, str], list[str]] = {}
    for message in messages:
        tolerated = message.warning or message.check in settings.downgrade
        alike.setdefault((tolerated, message.check, message.text), []).append(message.node)
    report = Report()
    for (tolerated, check, text), names in alike.items():
        (report.warnings if tolerated else report.findings).append(f"[{check}] {listed(names)}: {text}")
    return report


def listed(names: Sequence[str]) -> str:
    """All names, or the first two and how many more there are."""
    return ", ".join(names) if len(names) <= MANY else f"{names[0]}, {names[1]} and {len(names) - 2} others"


def check_os(subject: Subject) -> Iterator[Message]:
    os = subject.facts.os
    if os is not None and (os.id, os.version_id) not in SUPPORTED:
        yield Message(
            "os",
            subject.node.name,
            f"{os.id} {os.version_id}; supported are Ubuntu 20.04, 22.04, 24.04 and Debian 12. "
            "Install one of them, or downgrade this check",
        )


def check_architecture(subject: Subject) -> Iterator[Message]:
    found = subject.facts.architecture
    if found is not None and found not in ARCHITECTURES:
        yield Message(
            "architecture", subject.node.name, f"{found}; the images are built for x86_64. Use an x86_64 machine"
        )


def check_kernel(subject: Subject) -> Iterator[Message]:
    found = re.match(r"(\d+)\.(\d+)", subject.facts.kernel or "")
    if found is None:
        return
    nftables = subject.kubernetes.kube_proxy.get("mode") == "nftables"
    wanted = MIN_KERNEL_NFTABLES if nftables else MIN_KERNEL
    if (int(found[1]), int(found[2])) < wanted:
        remedy = "Upgrade the kernel" + (", or choose another kubernetes.kubeProxy.mode" if nftables else "")
        yield Message(
            "kernel", subject.node.name, f"{subject.facts.kernel}; {wanted[0]}.{wanted[1]} or newer. {remedy}"
        )


def check_cpus(subject: Subject) -> Iterator[Message]:
    found, role = subject.facts.cpus, subject.node.role
    if found is None:
        return
    least, planned = MIN_CPUS.get(role, 1), PLANNED_CPUS.get(role, 1)
    if found < least:
        yield Message(
            "cpus",
            subject.node.name,
            f"{found} CPU; kubeadm needs {least} on a {role}. Use a larger machine, "
            "or downgrade this check and add NumCPU to kubernetes.ignorePreflight",
        )
    elif found < planned:
        yield Message("cpus", subject.node.name, f"{found} CPUs; {planned} are planned for a {role}", warning=True)


def check_memory(subject: Subject) -> Iterator[Message]:
    found, role = subject.facts.memory_mib, subject.node.role
    if found is None:
        return
    least, planned = MIN_MEMORY_MIB.get(role, 0), PLANNED_MEMORY_GIB.get(role, 0)
    if found < least:
        yield Message(
            "memory",
            subject.node.name,
            f"{found} MiB; kubeadm needs {least} on a {role}. Use a larger machine, "
            "or downgrade this check and add Mem to kubernetes.ignorePreflight",
        )
    elif found < planned * 1024 * 0.9:
        yield Message("memory", subject.node.name, f"{found} MiB; {planned} GiB are planned for a {role}", warning=True)


def check_disk(subject: Subject) -> Iterator[Message]:
    facts, name, role = subject.facts, subject.node.name, subject.node.role
    if facts.root_free_gib is not None and facts.root_disk_gib:
        free, size = facts.root_free_gib, facts.root_disk_gib
        wanted = max(size * MIN_FREE_SHARE, 0.0 if facts.joined else MIN_FREE_GIB)
        if free < wanted:
            # A member keeps running and must stay manageable, above all when its disk fills up.
            yield Message(
                "disk",
                name,
                f"{free:.1f} of {size:.0f} GiB free on /; {wanted:.1f} GiB are needed. Free some, or use a larger disk",
                warning=facts.joined,
            )
    planned = PLANNED_DISK_GIB.get(role, 0)
    if facts.root_disk_gib is not None and facts.root_disk_gib < planned * 0.9:
        yield Message(
            "disk", name, f"/ has {facts.root_disk_gib:.0f} GiB; {planned} GiB are planned for a {role}", warning=True
        )


def check_swap(subject: Subject) -> Iterator[Message]:
    if subject.facts.swap and subject.node.role is not Role.STORAGE and swap_forbidden(subject.kubernetes):
        yield Message(
            "swap",
            subject.node.name,
            "swap is on; kubelet refuses it. It will be switched off and commented out in /etc/fstab",
            warning=True,
        )


def check_cgroup(subject: Subject) -> Iterator[Message]:
    tolerated = subject.kubernetes.kubelet.get("failCgroupV1") is False
    if subject.facts.cgroup_version == 1 and subject.node.role is not Role.STORAGE and not tolerated:
        yield Message(
            "cgroup",
            subject.node.name,
            "cgroup v1; Kubernetes has it in maintenance only. Boot with systemd.unified_cgroup_hierarchy=1, "
            "or set kubernetes.kubelet.failCgroupV1 to false",
        )


def check_sudo(subject: Subject) -> Iterator[Message]:
    if subject.facts.sudo is False:
        yield Message(
            "sudo",
            subject.node.name,
            "the login user may not run commands as root; password-less sudo is needed. "
            "Add `USER ALL=(ALL) NOPASSWD: ALL` to a file in /etc/sudoers.d",
        )


def check_address(subject: Subject) -> Iterator[Message]:
    wanted, found = str(subject.node.address), subject.facts.addresses
    if found and wanted not in found:
        shown = ", ".join(sorted(address for address in found if "." in address and not address.startswith("127.")))
        yield Message(
            "address",
            subject.node.name,
            f"{wanted} is on none of its interfaces ({shown}); the other nodes reach it there. "
            "Set the node's own address, or reach it through ssh.jump",
        )


def check_hostname(subject: Subject) -> Iterator[Message]:
    found = subject.facts.hostname
    if found and found.partition(".")[0] != subject.node.name:
        yield Message(
            "hostname",
            subject.node.name,
            f"the machine calls itself {found}; Kubernetes will call it {subject.node.name}",
            warning=True,
        )


def check_ports(subject: Subject) -> Iterator[Message]:
    facts, role = subject.facts, subject.node.role
    if facts.joined or facts.listening is None:
        return
    wanted = {*PORTS.get(role, ()), *((subject.kubernetes.api_port,) if role is Role.CONTROL_PLANE else ())}
    taken = sorted(wanted & set(facts.listening))
    if taken:
        ports = ", ".join(map(str, taken))
        yield Message(
            "ports",
            subject.node.name,
            f"port {ports} in use; Kubernetes needs it. Stop what listens there (`ss -lptn`), "
            "or run `kubeadm reset` if it is an older cluster",
        )


def check_machine_ids(subjects: Sequence[Subject]) -> Iterator[Message]:
    counts = Counter(subject.facts.machine_id for subject in subjects if subject.facts.machine_id)
    for subject in subjects:
        found = subject.facts.machine_id
        if found == "":
            yield Message(
                "machine-id", subject.node.name, "no machine id; it must be unique. Run `systemd-machine-id-setup`"
            )
        elif found is not None and counts[found] > 1:
            others = ", ".join(o.node.name for o in subjects if o.facts.machine_id == found and o is not subject)
            yield Message(
                "machine-id",
                subject.node.name,
                f"same machine id as {others}; it must be unique. On cloned machines run "
                "`rm /etc/machine-id && systemd-machine-id-setup`, then reboot",
            )


def check_clocks(subjects: Sequence[Subject]) -> Iterator[Message]:
    offsets = [s.facts.clock_offset_seconds for s in subjects if s.facts.clock_offset_seconds is not None]
    if not offsets:
        return
    middle = median(offsets)
    for subject in subjects:
        if subject.facts.clock_offset_seconds is None:
            continue
        skew = subject.facts.clock_offset_seconds - middle
        if abs(skew) > CLOCK_WARNING_SECONDS:
            yield Message(
                "clock",
                subject.node.name,
                f"its clock is {skew:+.0f} s off the other nodes'; certificates and etcd need equal clocks. "
                "Give it a time server it can reach",
                warning=abs(skew) <= CLOCK_ERROR_SECONDS,
            )


def swap_forbidden(kubernetes: Kubernetes) -> bool:
    """Whether kubelet would refuse to start with swap, its default."""
    return kubernetes.kubelet.get("failSwapOn") is not False


NODE_CHECKS: tuple[Callable[[Subject], Iterator[Message]], ...] = (
    check_os,
    check_architecture,
    check_kernel,
    check_cpus,
    check_memory,
    check_disk,
    check_swap,
    check_cgroup,
    check_sudo,
    check_address,
    check_hostname,
    *GPU_CHECKS,
    check_ports,
)
CROSS_CHECKS: tuple[Callable[[Sequence[Subject]], Iterator[Message]], ...] = (check_machine_ids, check_clocks)
