"""Mirrors, load balancer, ingress, Redis, inference: what runs in the cluster and where it is fetched from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import (
    Address,
    AddressRange,
    DnsName,
    FilePath,
    Folder,
    Host,
    HttpUrl,
    ImageReference,
    Quantity,
    RegistryUrl,
    Sha256,
)


class AptMirror(Model):
    """An apt repository and the key that signs it."""

    url: HttpUrl = Field(description="Base address, as it stands in a `deb` line.")
    suite: str = Field(default="/", description="Suite; `/` for a flat repository.")
    components: tuple[str, ...] = Field(default=(), description="Components, e.g. `main`; none for a flat repository.")
    key: str | None = Field(default=None, description="ASCII-armoured public key; else `keyFile` or `keyUrl`.")
    key_file: FilePath | None = Field(
        default=None,
        description="Path of the public key, armoured or not, on the operator's machine; absolute, ~ or relative to the project.",
    )
    key_url: HttpUrl | None = Field(default=None, description="Address the key is fetched from by the node, once.")
    key_sha256: Sha256 | None = Field(
        default=None, description="SHA-256 of what `keyUrl` must deliver; needed when `keyUrl` is http."
    )


class Mirrors(Model):
    """Where downloads come from. Absent means the upstream place."""

    os: AptMirror | None = Field(default=None, description="The distribution's packages.")
    kubernetes: AptMirror | None = Field(default=None, description="kubeadm, kubelet, kubectl, kubernetes-cni.")
    images: RegistryUrl | None = Field(
        default=None, description="Registry that serves every upstream repository path, e.g. http://10.0.0.5:5000."
    )
    files: HttpUrl | None = Field(default=None, description="Base address for single files (keys, models).")
    time: tuple[DnsName, ...] = Field(
        default=(), description="NTP servers, by name or address; none: the distribution's public pool."
    )


class LoadBalancer(Model):
    """MetalLB in layer-2 mode."""

    addresses: tuple[AddressRange, ...] = Field(
        min_length=1, description="Ranges `a.b.c.d-a.b.c.e` or CIDRs that no machine uses."
    )
    interfaces: tuple[str, ...] = Field(default=(), description="Announce on these only; empty = all.")


class Ingress(Model):
    """How users reach the service."""

    host: DnsName = Field(default="qwen3.example.com", description="Host name of the IngressRoute `qwen3-vl-ingress`.")
    replicas: int = Field(default=2, ge=1, le=20, description="Traefik replicas, spread over nodes.")
    address: Address | None = Field(
        default=None, description="One address of `loadBalancer.addresses` to use; else the first free."
    )


class Redis(Model):
    """Session store at `redis.default.svc.cluster.local:6379`."""

    memory_mib: int = Field(default=256, ge=16, description="maxmemory in MiB.")


class ModelStore(Model):
    """Where the model directory `/models` of the pods comes from."""

    kind: Literal["nfs", "hostPath"] = Field(
        default="nfs", description="`nfs`: an export; `hostPath`: a folder every worker already has."
    )
    server: Host | None = Field(default=None, description="NFS server; default: the storage node's address.")
    path: Folder = Field(default="/exports/models", description="Export, or folder on every worker for `hostPath`.")


class Inference(Model):
    """The Deployment `qwen3-vl-webui`: web UI and engine in one pod."""

    engine: Literal["vllm"] = Field(default="vllm", description="Inference engine.")
    model: str = Field(
        default="Qwen/Qwen3-VL-4B-Instruct", description="Model; its last part is the folder below `/models`."
    )
    replicas: int = Field(default=2, ge=1, description="First size; one GPU each.")
    dtype: Literal["auto", "bfloat16", "float16"] = Field(
        default="bfloat16", description="Number format of the weights."
    )
    max_model_len: int = Field(default=8192, ge=256, description="Longest prompt and answer together, in tokens.")
    max_images_per_prompt: int = Field(default=4, ge=1, description="Images one request may carry.")
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Share of the GPU's memory the engine takes."
    )
    cpu: Quantity = Field(default="4000m", description="CPU request of the pod's engine container.")
    memory: Quantity = Field(default="16Gi", description="Memory request and limit of the engine container.")
    webui_cpu: Quantity = Field(default="250m", description="CPU request of the web UI container.")
    webui_memory: Quantity = Field(default="1Gi", description="Memory request and limit of the web UI container.")
    startup_seconds: int = Field(
        default=900, ge=10, description="Start-up probe budget in seconds: model load and warm-up."
    )
    extra_args: tuple[str, ...] = Field(default=(), description="Further vLLM flags, passed as they are.")


class Images(Model):
    """Image references that differ from components/versions.py, by the name used there."""

    overrides: dict[str, ImageReference] = Field(default_factory=dict, description="name -> full reference.")


class Preflight(Model):
    """Findings about the nodes before anything is changed."""

    downgrade: tuple[str, ...] = Field(
        default=(), description="Names of checks that warn instead of stopping, e.g. `memory`."
    )


class Destroy(Model):
    """What `pulumi destroy` may do to machines and data."""

    reset_last_control_plane: bool = Field(
        default=False, description="Also reset the last control plane, which deletes etcd: the cluster's data is gone."
    )
