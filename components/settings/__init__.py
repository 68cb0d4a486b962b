"""The stack config as plain, validated values. Imports no Pulumi, so tools and tests can use it alone."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from pydantic import Field

from components.settings.autoscaling import Autoscaling, Bounds, bounds
from components.settings.base import Model
from components.settings.firewall import Firewall, Upgrades, around
from components.settings.gpu import Gpu
from components.settings.inference import Inference
from components.settings.kubernetes import Containerd, Kubernetes
from components.settings.model_store import ModelStore
from components.settings.nodes import Jump, Node, Role, Ssh, Taint
from components.settings.observability import Observability, Prometheus
from components.settings.services import (
    AptMirror,
    Destroy,
    Images,
    Ingress,
    LoadBalancer,
    Mirrors,
    Preflight,
    Redis,
)
from components.settings.webui import WebUi


class Settings(Model):
    """Everything plain in the stack config; each field is one config key `qwen3-vl:<key>`."""

    nodes: tuple[Node, ...] = Field(
        description="All machines. Everything made for one is keyed by its name; their order means nothing."
    )
    ssh: Ssh = Field(default=Ssh(), description="How the nodes are reached.")
    firewall: Firewall = Field(default=Firewall(), description="What the nodes let in.")
    upgrades: Upgrades = Field(default=Upgrades(), description="Updates of the nodes' operating system.")
    kubernetes: Kubernetes = Field(default=Kubernetes(), description="The cluster.")
    mirrors: Mirrors = Field(default=Mirrors(), description="Where downloads come from.")
    load_balancer: LoadBalancer = Field(description="Addresses for services of type LoadBalancer.")
    ingress: Ingress = Field(default=Ingress(), description="How users reach the service.")
    redis: Redis = Field(default=Redis(), description="Session store.")
    model_store: ModelStore = Field(default=ModelStore(), description="Where the pods' `/models` comes from.")
    gpu: Gpu = Field(default=Gpu(), description="GPUs of the workers.")
    inference: Inference = Field(default=Inference(), description="The Deployment `qwen3-vl-webui`.")
    autoscaling: Autoscaling = Field(default=Autoscaling(), description="How many replicas there are.")
    observability: Observability = Field(default=Observability(), description="What watches the service.")
    webui: WebUi = Field(default=WebUi(), description="Who may use the web UI and its API.")
    images: Images = Field(default=Images(), description="Image references.")
    preflight: Preflight = Field(default=Preflight(), description="Checks of the nodes.")
    destroy: Destroy = Field(default=Destroy(), description="What `pulumi destroy` may do.")

    def by_role(self, role: Role) -> tuple[Node, ...]:
        """The nodes of one role, in the order of the list."""
        return tuple(node for node in self.nodes if node.role is role)

    @property
    def control_planes(self) -> tuple[Node, ...]:
        return self.by_role(Role.CONTROL_PLANE)

    @property
    def workers(self) -> tuple[Node, ...]:
        return self.by_role(Role.WORKER)

    @property
    def gpu_workers(self) -> tuple[Node, ...]:
        return tuple(node for node in self.workers if node.gpus)

    @property
    def gpu_slots(self) -> int:
        """How many pods with `nvidia.com/gpu: 1` all workers together can hold."""
        return sum(node.gpus for node in self.workers) * self.gpu.time_slicing.replicas

    @property
    def replica_bounds(self) -> Bounds:
        """Fewest and most replicas that may ever run; both the first size where nothing scales."""
        first = self.inference.replicas
        if not self.autoscaling.enabled:
            return Bounds(first, first)
        return bounds(self.autoscaling, replicas=first, gpus=self.gpu_slots)

    @property
    def redis_replicas(self) -> int:
        """As configured, or as many as the control planes can hold with a node of its own for each."""
        return self.redis.replicas or (3 if len(self.control_planes) >= 3 else 1)

    @property
    def api_host(self) -> str:
        """Address of the API endpoint: the virtual one, or the only control plane's own."""
        return str(self.kubernetes.api_address or self.control_planes[0].address)

    @property
    def backup_keepers(self) -> tuple[Node, ...]:
        """Who keeps what other control planes save: control planes and storage nodes; where those are one node, the workers."""
        if not self.kubernetes.backup.enabled:
            return ()
        others = self.control_planes if len(self.control_planes) > 1 else ()
        return others + self.by_role(Role.STORAGE) or self.workers

    @property
    def node_networks(self) -> tuple[IPv4Network, ...]:
        """Where machines count as nodes of this stack, as few networks as can be."""
        named = self.firewall.node_networks
        return tuple(collapse_addresses(named or [around(node.address) for node in self.nodes]))

    @property
    def exporting(self) -> tuple[Node, ...]:
        """The storage nodes that export the model store; none where it is not an export or another machine's."""
        if self.model_store.kind != "nfs":
            return ()
        return tuple(
            node
            for node in self.by_role(Role.STORAGE)
            if self.model_store.server in (None, node.name, str(node.address))
        )

    @property
    def model_readers(self) -> tuple[IPv4Network, ...]:
        """Who may read the export."""
        return self.model_store.clients or tuple(IPv4Network(node.address) for node in self.workers)

    @property
    def model_writer(self) -> IPv4Address | None:
        """Address of `modelStore.writer`; None also for a name that no node has."""
        writer = self.model_store.writer
        named = {node.name: node.address for node in self.nodes}
        if writer is None or writer in named:
            return named.get(writer or "")
        try:
            return IPv4Address(writer)
        except ValueError:
            return None

    @property
    def nfs_server(self) -> str | None:
        """Where an `nfs` model store is served from: the configured server, or the storage node."""
        exporting = self.exporting
        return str(exporting[0].address) if exporting else self.model_store.server


__all__ = [
    "AptMirror",
    "Autoscaling",
    "Bounds",
    "Containerd",
    "Destroy",
    "Firewall",
    "Gpu",
    "Images",
    "Inference",
    "Ingress",
    "Jump",
    "Kubernetes",
    "LoadBalancer",
    "Mirrors",
    "ModelStore",
    "Node",
    "Observability",
    "Preflight",
    "Prometheus",
    "Redis",
    "Role",
    "Settings",
    "Ssh",
    "Taint",
    "Upgrades",
    "WebUi",
]
