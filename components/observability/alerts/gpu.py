"""GPUs, by the metrics of NVIDIA's DCGM exporter. Pure.

By node, number and UUID: the exporter's own labels name the pod that holds a GPU too, and change with it.
"""

from __future__ import annotations

from components.observability.alerts.jobs import NODES, STATE, silent
from components.observability.alerts.rule import Alert, Group, Recorded, Watched
from components.observability.targets import GPUS

REPORTED = "node:gpus:reported"
GPU = f'job="{GPUS.job}"'
BY = "by (node, gpu, UUID)"
NAME = "GPU {{ $labels.gpu }} of {{ $labels.node }}"
XID = f"DCGM_FI_DEV_XID_ERRORS{{{GPU}}}"
# Those after which a GPU computes nothing, or wrongly, until it is reset or replaced (NVIDIA, "Xid Errors"): double-bit error,
# controller halted, row remapping failed, NVLink, fallen off the bus, uncontained error, GSP (119, 120), unrecovered ECC error.
FATAL_XIDS = (48, 62, 64, 74, 79, 95, 119, 120, 140)
# A GPU that was taken out on purpose is told of for so long. Counts of the stack config would not be told of, but a node
# more would then be another configuration and so a Prometheus that starts empty.
REMEMBERED_HOURS = 6
HOT_CELSIUS = 87  # data centre cards slow down between 87 and 93 degrees, a 4090 at 90


def groups(watched: Watched) -> list[Group]:
    """Nothing where nobody, or somebody else's exporter, reports GPUs."""
    if not watched.gpu_exporter:
        return []
    reported = Recorded(
        record=REPORTED, expr=f"count by (node) (count by (node, UUID) (DCGM_FI_DEV_GPU_UTIL{{{GPU}}}))"
    )
    remembered = min(REMEMBERED_HOURS, watched.retention_hours)
    return [Group(name="gpus", rules=(reported, *alerts(remembered)))]


def alerts(remembered_hours: int) -> list[Alert]:
    known = f"max_over_time({REPORTED}[{remembered_hours}h])"
    offered = f'kube_node_status_allocatable{{{STATE},resource="nvidia_com_gpu"}}'
    xid = f"max {BY} ({XID})"
    fatal = " or ".join(f"{xid} == {number}" for number in FATAL_XIDS)
    return [
        Alert(
            name="GpuMissing",
            severity="warning",
            # An exporter that does not answer has an alert of its own, and a node that left took its GPUs along.
            expr=f"({known} - on (node) ({REPORTED} or {known} * 0) > 0) and on (node) count by (node) (up{{{NODES}}})"
            f" unless on (node) {silent(GPU)}",
            for_seconds=600,
            summary="{{ $value }} GPUs of {{ $labels.node }} are missing",
            description=f"The GPU exporter of {{{{ $labels.node }}}} reported them within the last {remembered_hours} hours and"
            " does not any more. Run `nvidia-smi` on the node.",
        ),
        Alert(
            name="GpuNotOffered",
            severity="warning",
            expr=f"{REPORTED} - on (node) sum by (node) ({offered}) > 0",
            for_seconds=600,
            summary="Pods can have {{ $value }} GPUs of {{ $labels.node }} fewer than there are",
            description="The GPUs of {{ $labels.node }} are there, but Kubernetes gives them to nobody: a replica that runs goes"
            " on, and none starts there. Look at the pod of nvidia-device-plugin on the node and at its log.",
        ),
        Alert(
            name="GpuXidFatal",
            severity="critical",
            expr=fatal,
            summary=f"{NAME} has failed (Xid {{{{ $value }}}})",
            description=f"{NAME} computes nothing, or wrongly, until it is reset or replaced. Drain the node, restart it, and"
            " look whether it comes back.",
        ),
        Alert(
            # The metric keeps the last Xid for as long as the exporter runs, so the alert looks at whether it is new.
            name="GpuXidError",
            severity="warning",
            expr=f"({xid} > 0 unless {xid} == max {BY} ({XID} offset 1h)) unless ({fatal})",
            summary=f"{NAME} reported Xid {{{{ $value }}}}",
            description=f"The driver of {{{{ $labels.node }}}} wrote an error of {NAME} to the kernel's log within the last hour."
            " Look up the number and whether the engine there restarted.",
        ),
        Alert(
            name="GpuHot",
            severity="warning",
            expr=f"max {BY} (avg_over_time(DCGM_FI_DEV_GPU_TEMP{{{GPU}}}[5m])) > {HOT_CELSIUS}",
            for_seconds=300,
            summary=f"{NAME} is at {{{{ $value | humanize }}}} degrees Celsius",
            description=f"{NAME} slows down, or is about to. Look at fans, air flow and what else heats the rack.",
        ),
        Alert(
            name="GpuMemoryErrors",
            severity="critical",
            expr=f"max {BY} (DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{GPU}}}) > 0",
            summary=f"{NAME} has uncorrectable memory errors",
            description=f"{{{{ $value }}}} double-bit errors of {NAME} since its driver was loaded; answers from it may have been"
            " lost. Drain the node and reset the GPU; replace it if they come back.",
        ),
        Alert(
            name="GpuRowRemapFailed",
            severity="critical",
            expr=f"max {BY} (DCGM_FI_DEV_ROW_REMAP_FAILURE{{{GPU}}}) > 0",
            summary=f"{NAME} cannot repair its memory any more",
            description=f"{NAME} has no spare rows left for bad ones: drain the node and have the card replaced.",
        ),
    ]
