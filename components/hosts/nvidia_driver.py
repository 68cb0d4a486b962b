"""The NVIDIA driver and container toolkit of the GPU workers: pinned, held, loaded, and exchanged without losing requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.hosts import facts as node_facts
from components.hosts.facts import NodeFacts, OperatingSystem
from components.hosts.nvidia_packages import (
    driver_packages,
    driver_source,
    driver_version,
    module,
    package_version,
    preferences,
    toolkit_packages,
    toolkit_source,
)
from components.naming import token
from components.settings import Gpu, Mirrors, Node
from host.resources import Configuration, ConfigurationArgs, Connection, File, Script

SCRIPTS = "components/hosts/scripts"
DRAIN_SECONDS = 240  # as when a node leaves the cluster
# Waiting for another node's turn (20 minutes), the drain, the build of the module and a restart.
DRIVER_DEADLINE = 3000
NOUVEAU = """\
# nouveau and NVIDIA's driver cannot share a GPU.
blacklist nouveau
options nouveau modeset=0
"""
MODULES = "nvidia\nnvidia-uvm\n"
UNATTENDED_UPGRADES = """\
// A kernel comes with a module built for it, so it is upgraded together with the driver and never by itself at night.
Unattended-Upgrade::Package-Blacklist { "^linux-(image|headers|modules|generic|virtual)"; "^libcuda"; "^dkms$"; };
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NvidiaDriverArgs:
    """`facts` and `after` (the base systems) are by node name; `control_planes` move pods away from a node and back."""

    nodes: tuple[Node, ...]
    connections: Mapping[str, Connection]
    control_planes: tuple[Connection, ...]
    facts: Mapping[str, pulumi.Output[dict[str, Any]]]
    gpu: Gpu
    mirrors: Mirrors
    after: Mapping[str, pulumi.Resource]


class NvidiaDriver(pulumi.ComponentResource):
    """One configuration `<node>-gpu` for each GPU worker, unless the GPU operator owns the driver."""

    ready: Mapping[str, Configuration]

    def __init__(self, name: str, args: NvidiaDriverArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("hosts", "NvidiaDriver"), name, None, opts)
        self.ready = {
            node.name: Configuration(
                f"{node.name}-gpu",
                gpu_configuration(args, node),
                pulumi.ResourceOptions(parent=self, depends_on=[args.after[node.name]]),
            )
            for node in args.nodes
        }
        self.register_outputs({})


def gpu_configuration(args: NvidiaDriverArgs, node: Node) -> ConfigurationArgs:
    """What one node gets. Names of packages and addresses of sources depend on what the node is."""
    found = args.facts[node.name].apply(lambda facts: node_facts.parse(dict(facts)))
    if args.gpu.driver.owner == "installed":
        return ConfigurationArgs(
            connection=args.connections[node.name],
            files=source_files(args.mirrors),
            packages=toolkit_packages(args.gpu.toolkit),
            scripts=(Script(path=f"{SCRIPTS}/gpu_driver.sh", environment={"OWNER": "installed"}),),
        )
    return ConfigurationArgs(
        connection=args.connections[node.name],
        files=source_files(args.mirrors) | driver_files(args, found),
        packages=found.apply(lambda facts: packages(args.gpu, facts)),
        scripts=driver_scripts(args, node, found),
        peers=args.control_planes,
    )


def packages(gpu: Gpu, facts: NodeFacts) -> dict[str, str]:
    """Package -> version."""
    own = driver_packages(gpu.driver, system(facts), facts.gpus or (), facts.kernel or "")
    return own | toolkit_packages(gpu.toolkit)


def source_files(mirrors: Mirrors) -> dict[str, File]:
    """The container toolkit's source, or the mirror that also has the driver."""
    source = toolkit_source(mirrors)
    name = "nvidia" if mirrors.nvidia else "nvidia-container-toolkit"
    files = {f"/etc/apt/sources.list.d/{name}.list": File(content=source.lines)}
    return files | ({source.keyring: File(content=source.key)} if source.key else {})


def driver_files(args: NvidiaDriverArgs, found: pulumi.Output[NodeFacts]) -> dict[str, File]:
    files = {
        "/etc/apt/apt.conf.d/61qwen3-vl-gpu-upgrades": File(content=UNATTENDED_UPGRADES),
        "/etc/apt/preferences.d/qwen3-vl-nvidia": File(
            content=found.apply(lambda facts: preferences(package_version(args.gpu.driver, system(facts))))
        ),
        "/etc/modprobe.d/qwen3-vl-nouveau.conf": File(content=NOUVEAU),
        "/etc/modules-load.d/qwen3-vl-nvidia.conf": File(content=MODULES),
    }
    if args.mirrors.nvidia:
        return files
    lines = found.apply(lambda facts: driver_source(args.mirrors, system(facts)).lines)
    return files | {"/etc/apt/sources.list.d/cuda.list": File(content=lines)}


def driver_scripts(args: NvidiaDriverArgs, node: Node, found: pulumi.Output[NodeFacts]) -> tuple[Script, ...]:
    """The driver is loaded; around an exchange on a member of the cluster its pods are moved away, and it comes back."""
    driver, name = args.gpu.driver, {"NODE_NAME": node.name}
    return (
        Script(
            path=f"{SCRIPTS}/gpu_driver.sh",
            environment=name
            | {
                "OWNER": "program",
                "DRAIN_SECONDS": str(DRAIN_SECONDS),
                "DRIVER_VERSION": found.apply(lambda facts: driver_version(driver, system(facts))),
                "MODULE": found.apply(lambda facts: module(driver, facts.gpus or ())),
            },
            material=f"{SCRIPTS}/vacate_node.sh",
            deadline_seconds=DRIVER_DEADLINE,
        ),
        Script(
            path=f"{SCRIPTS}/return_to_service.sh",
            environment=name,
            material=f"{SCRIPTS}/readmit_node.sh",
            deadline_seconds=120,
        ),
    )


def system(facts: NodeFacts) -> OperatingSystem:
    return facts.os or OperatingSystem()
