"""GPUs, by the metrics of NVIDIA's DCGM exporter. Pure."""

from __future__ import annotations

from components.observability.alerts.gpu import BY, GPU, HOT_CELSIUS
from components.observability.dashboards.model import RED, YELLOW, Dashboard, Panel, Query, Row
from components.observability.dashboards.queries import WINDOW

NAME = "{{node}} GPU {{gpu}}"


def dashboard() -> Dashboard:
    return Dashboard(
        uid="qwen3-vl-gpu",
        title="GPUs",
        description="Load, memory, heat and faults of each GPU.",
        rows=(
            Row(
                title="Load",
                panels=(
                    of("Busy", "Share of the time in which something was computed.", "percent", "GPU_UTIL", most=100),
                    Panel(
                        title="Memory used",
                        description="Share of the card's memory. An engine takes most of it at its start and keeps it.",
                        unit="percentunit",
                        least=0,
                        most=1,
                        queries=(Query(expr=f"{used()} / ({used()} + {field('FB_FREE')})", legend=NAME),),
                    ),
                    of(
                        "Memory bus busy",
                        "Share of the time in which memory was read or written.",
                        "percent",
                        "MEM_COPY_UTIL",
                        most=100,
                    ),
                    of("Clock", "Falls under load when a card is hot or short of power.", "rotmhz", "SM_CLOCK"),
                    Panel(
                        title="Busy, all GPUs",
                        description="Mean of all that are reported.",
                        unit="percent",
                        kind="gauge",
                        least=0,
                        most=100,
                        thresholds=((80, YELLOW), (95, RED)),
                        queries=(Query(expr=f"avg({field('GPU_UTIL')})"),),
                    ),
                    Panel(
                        title="GPUs reported",
                        description="By node. One less than the node has: it fell off the bus, or its driver is gone.",
                        unit="short",
                        kind="bargauge",
                        least=0,
                        decimals=0,
                        queries=(Query(expr=f"count by (node) ({field('GPU_UTIL')})", legend="{{node}}"),),
                    ),
                ),
            ),
            Row(
                title="Heat and power",
                panels=(
                    of(
                        "Temperature",
                        f"From {HOT_CELSIUS} degrees an alert fires; cards slow down soon after.",
                        "celsius",
                        "GPU_TEMP",
                        red=HOT_CELSIUS,
                    ),
                    of(
                        "Temperature of the memory",
                        "Where the card has a sensor for it.",
                        "celsius",
                        "MEMORY_TEMP",
                        red=95,
                    ),
                    of("Power", "Draw of each card.", "watt", "POWER_USAGE"),
                ),
            ),
            Row(
                title="Faults",
                panels=(
                    of(
                        "Last Xid",
                        "Number of the driver's last error (NVIDIA, Xid Errors); 0: none since the exporter started.",
                        "none",
                        "XID_ERRORS",
                        red=1,
                    ),
                    of(
                        "Double-bit errors",
                        "Memory errors that could not be corrected, since the driver was loaded.",
                        "short",
                        "ECC_DBE_VOL_TOTAL",
                        red=1,
                    ),
                    of(
                        "Single-bit errors",
                        "Corrected ones, since the driver was loaded.",
                        "short",
                        "ECC_SBE_VOL_TOTAL",
                    ),
                    of(
                        "Rows remapped after uncorrectable errors",
                        "Spare rows of the memory in use; the card has few.",
                        "short",
                        "UNCORRECTABLE_REMAPPED_ROWS",
                        red=1,
                    ),
                    of(
                        "Remapping failed",
                        "1: there is no spare row left, replace the card.",
                        "short",
                        "ROW_REMAP_FAILURE",
                        red=1,
                    ),
                    Panel(
                        title="PCIe retries",
                        description="A second. A card that is not seated well, or a bad riser.",
                        unit="ops",
                        least=0,
                        queries=(
                            Query(
                                expr=f"sum {BY} (rate(DCGM_FI_DEV_PCIE_REPLAY_COUNTER{{{GPU}}}[{WINDOW}]))", legend=NAME
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


def field(name: str) -> str:
    """Of each card; the exporter's other labels name the pod that holds it and change with it."""
    return f"max {BY} (DCGM_FI_DEV_{name}{{{GPU}}})"


def used() -> str:
    return field("FB_USED")


def of(
    title: str, description: str, unit: str, name: str, *, most: float | None = None, red: float | None = None
) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=unit,
        least=0,
        most=most,
        thresholds=((red, RED),) if red is not None else (),
        empty="The card does not report it.",
        queries=(Query(expr=field(name), legend=NAME),),
    )
