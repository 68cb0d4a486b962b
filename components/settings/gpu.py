"""GPUs: who owns the driver, in which version, and how they are handed to pods."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import DebianRevision, DriverVersion, ToolkitVersion


class GpuDriver(Model):
    """The NVIDIA driver of the GPU workers."""

    owner: Literal["program", "installed", "operator"] = Field(
        default="program",
        description="Who installs it: `program`: this program; `installed`: it is there already and is only verified; "
        "`operator`: NVIDIA's GPU operator, which then also brings toolkit, device plugin and DCGM exporter.",
    )
    version: DriverVersion | None = Field(
        default=None, description="Exact version; none: the one of components/versions.py for the node's distribution."
    )
    package_revision: DebianRevision | None = Field(
        default=None, description="Debian revision of the driver's packages; none: that of NVIDIA's repository."
    )
    module: Literal["auto", "open", "proprietary"] = Field(
        default="auto", description="Kernel module; `auto`: by the generation of the GPUs found on the node."
    )


class Toolkit(Model):
    """NVIDIA's container toolkit, which puts a GPU into a container."""

    version: ToolkitVersion = Field(default="1.18.0", description="Exact version.")
    package_revision: DebianRevision = Field(default="1", description="Debian revision of its packages.")


class TimeSlicing(Model):
    """Several pods on one GPU, in turns. Neither memory nor faults are kept apart."""

    replicas: int = Field(default=1, ge=1, le=48, description="How often each GPU is given away; 1: to one pod only.")


class Gpu(Model):
    """How the GPUs of the workers become `nvidia.com/gpu` of pods."""

    driver: GpuDriver = Field(default=GpuDriver(), description="The driver.")
    toolkit: Toolkit = Field(default=Toolkit(), description="The container toolkit.")
    time_slicing: TimeSlicing = Field(default=TimeSlicing(), description="Sharing of a GPU.")
    dcgm_exporter: bool = Field(default=True, description="Export the GPUs' metrics and errors (DCGM, port 9400).")
    taint_sick_nodes: bool = Field(
        default=False,
        description="Keep new pods off a node that has been short of GPUs for a minute, by the taint "
        "`nvidia.com/gpu-unhealthy:NoSchedule`; at least half of the GPU nodes stay open.",
    )
    allocatable_seconds: int = Field(
        default=900, ge=10, le=7200, description="How long to wait until the GPUs of the nodes can be allocated."
    )
