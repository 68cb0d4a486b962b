"""Nodes, by node-exporter and by what the cluster says of them. Pure.

All keep the label `node`, so that one that is away can hold back what follows from it.
"""

from __future__ import annotations

from components.observability.alerts.jobs import KUBELETS, NODES, STATE, silent
from components.observability.alerts.rule import Alert, Group, Severity, Watched, share

NODE = "{{ $labels.node }}"
DEVICE = "{{ $labels.device }}"
DAY = 24 * 3600
# Disks of the node. Volumes of pods are shown once more below the kubelet's folder; read-only ones are read-only on purpose.
DISKS = f'{NODES},fstype=~"ext[234]|xfs|btrfs",mountpoint!~"/boot.*|/run/.+|/var/lib/kubelet/pods/.+"'
# A kubelet evicts pods when less than 15 % of the images' filesystem is free (its default), and at 5 % root has the rest.
FREE: tuple[tuple[float, Severity], ...] = ((0.15, "warning"), (0.05, "critical"))
TREND_HOURS = 3
CABLES = f'{NODES},device!~"lo|veth.*|cni.*|flannel.*|kube-.*"'
CLOCK_SECONDS = 0.05
UNKNOWN_SECONDS = 16  # what the kernel says of its error when nothing has set its clock for long


def groups(watched: Watched) -> list[Group]:
    hours = min(TREND_HOURS, watched.retention_hours)
    return [
        Group(name="nodes", rules=tuple(away())),
        Group(name="node-resources", rules=(*memory(), *(full(*each) for each in FREE), *disks(hours), *others())),
    ]


def away() -> list[Alert]:
    ready = f'kube_node_status_condition{{{STATE},condition="Ready",status="true"}}'
    booted = f"node_boot_time_seconds{{{NODES}}}"
    return [
        Alert(
            name="NodeDown",
            severity="warning",
            expr=f"{silent(NODES)} unless on (node) max by (node) (up{{{KUBELETS}}}) == 1",
            for_seconds=180,
            summary=f"Node {NODE} does not answer",
            description=f"Neither node-exporter nor the kubelet of {NODE} has answered for 3 minutes. Its pods are started"
            " elsewhere where there is room: look at its power, its console and its network.",
        ),
        Alert(
            name="NodeExporterDown",
            severity="warning",
            expr=f"{silent(NODES)} and on (node) max by (node) (up{{{KUBELETS}}}) == 1",
            for_seconds=600,
            summary=f"Nothing is known of memory, disks and clock of {NODE}",
            description=f"The kubelet of {NODE} answers and node-exporter does not, so no alert on the node's disks or memory can"
            " fire. Look at its pod in the namespace node-agents, then at the firewall.",
        ),
        Alert(
            name="NodeNotReady",
            severity="warning",
            expr=f"max by (node) ({ready}) == 0",
            for_seconds=300,
            summary=f"Node {NODE} is not ready",
            description=f"The cluster has not heard from the kubelet of {NODE} for 5 minutes, or it says that it cannot run pods."
            " `kubectl describe node` has the reason.",
        ),
        Alert(
            name="NodeRebooted",
            severity="warning",
            expr=f"max by (node) (time() - {booted}) < 3600 and on (node) max by (node) ({booted} offset 1h)",
            summary=f"Node {NODE} has been restarted",
            description=f"{NODE} started within the last hour. Unless somebody did that or updates were due, the log of the boot"
            " before says why.",
        ),
    ]


def memory() -> list[Alert]:
    left = f"node_memory_MemAvailable_bytes{{{NODES}}} / node_memory_MemTotal_bytes{{{NODES}}}"
    return [
        Alert(
            name="NodeMemoryShort",
            severity="warning",
            expr=f"min by (node) ({left}) < 0.05",
            for_seconds=600,
            summary=f"{{{{ $value | humanizePercentage }}}} of the memory of {NODE} is left",
            description=f"Less than 5 % of the memory of {NODE} has been available for 10 minutes; the kubelet is about to evict"
            " pods, or the kernel to kill them. Look at what uses more than it asked for.",
        ),
        Alert(
            name="NodeOomKill",
            severity="warning",
            expr=f"max by (node) (increase(node_vmstat_oom_kill{{{NODES}}}[15m])) > 0",
            summary=f"The kernel of {NODE} kills processes for want of memory",
            description=f"Within the last 15 minutes a process on {NODE} was killed, because its container or the whole node was"
            " out of memory. The kernel's log names it.",
        ),
    ]


def full(free: float, severity: Severity) -> Alert:
    return Alert(
        name="NodeFilesystemFull",
        severity=severity,
        expr=f"min by (node, device) ({available()}) < {free:g}",
        for_seconds=900,
        summary=f"{{{{ $value | humanizePercentage }}}} of {DEVICE} on {NODE} is free",
        description=f"Less than {free:.0%} has been free for 15 minutes. Below 15 % the kubelet removes images and then evicts"
        " pods; a full disk stops etcd, logs and whatever writes. Find what grew.",
    )


def available() -> str:
    return f"node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}}"


def disks(hours: int) -> list[Alert]:
    by = "by (node, device)"
    inodes = f"node_filesystem_files_free{{{DISKS}}} / node_filesystem_files{{{DISKS}}}"
    return [
        Alert(
            name="NodeFilesystemFilling",
            severity="warning",
            # Half full already: a copy of a model writes fast too, and ends.
            expr=f"min {by} (predict_linear(node_filesystem_avail_bytes{{{DISKS}}}[{hours}h], {DAY})) < 0"
            f" and min {by} ({available()}) < 0.5",
            for_seconds=3600,
            summary=f"{DEVICE} on {NODE} will be full within a day",
            description=f"As {DEVICE} has grown in the last {hours} hours it is full in less than 24. Find what grows: logs,"
            " images, a copy of a model, backups.",
        ),
        Alert(
            name="NodeInodesShort",
            severity="warning",
            # Some filesystems have no such number and say 0.
            expr=f"min {by} ({inodes}) < 0.05 and min {by} (node_filesystem_files{{{DISKS}}}) > 0",
            for_seconds=900,
            summary=f"{DEVICE} on {NODE} has few inodes left",
            description=f"{{{{ $value | humanizePercentage }}}} of the inodes of {DEVICE} are free: soon no file can be made"
            " there, whatever room is left. Find the folder with the many files.",
        ),
        Alert(
            name="NodeDiskReadOnly",
            severity="warning",
            expr=f"max {by} (node_filesystem_readonly{{{DISKS}}}) == 1",
            for_seconds=120,
            summary=f"{DEVICE} on {NODE} cannot be written",
            description=f"The kernel mounts a filesystem read-only when it finds errors in it or in the disk below. Drain {NODE},"
            " look at its kernel's log, and replace the disk or repair the filesystem.",
        ),
    ]


def others() -> list[Alert]:
    """Clock and network."""
    unset = f"node_timex_sync_status{{{NODES}}} == 0 and node_timex_maxerror_seconds{{{NODES}}} >= {UNKNOWN_SECONDS}"
    errors, packets = (
        " + ".join(f"sum by (node, device) (rate(node_network_{way}_{what}_total{{{CABLES}}}[10m]))" for way in WAYS)
        for what in ("errs", "packets")
    )
    return [
        Alert(
            name="NodeClockOff",
            severity="warning",
            expr=f"max by (node) (abs(node_timex_offset_seconds{{{NODES}}})) > {CLOCK_SECONDS:g} or max by (node) ({unset})",
            for_seconds=600,
            summary=f"The clock of {NODE} is wrong, or nobody sets it",
            description=f"For 10 minutes the clock of {NODE} has been off by more than {CLOCK_SECONDS * 1000:g} ms, or chrony has"
            " had no server to follow. Certificates, tokens and etcd rely on it.",
        ),
        Alert(
            name="NodeNetworkErrors",
            severity="warning",
            expr=share(f"({errors})", f"({packets})", over=0.01, least=f"({errors}) * 600 >= 10"),
            for_seconds=600,
            summary=f"{{{{ $value | humanizePercentage }}}} of the packets at {DEVICE} of {NODE} are broken",
            description=f"The network card {DEVICE} of {NODE} counts errors: a cable, a transceiver, or the port of the switch."
            " Models are copied slowly and connections stall.",
        ),
    ]


WAYS = ("receive", "transmit")
