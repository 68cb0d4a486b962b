"""Mirrors, load balancer, ingress, Redis: what runs in the cluster and where it is fetched from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.edge import IngressLimits
from components.settings.syntax import (
    Address,
    AddressRange,
    DnsName,
    FilePath,
    HttpUrl,
    ImageReference,
    RegistryUrl,
    Sha256,
)
from components.settings.tls import Tls


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
    nvidia: AptMirror | None = Field(
        default=None, description="The NVIDIA driver's and the container toolkit's packages."
    )
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
    memory_mib: int = Field(
        default=2048,
        ge=128,
        description="Memory of one Traefik in MiB. Three quarters are for the bodies of requests in flight, which are kept until "
        "they are answered; [how many of each size](security.md#what-the-gateway-lets-in).",
    )
    limits: IngressLimits = Field(default=IngressLimits(), description="What is accepted from clients.")
    answer_seconds: int = Field(
        default=300,
        ge=1,
        description="How long the gateway waits for an answer to begin; one not streamed begins at its end.",
    )
    drain_seconds: int = Field(default=60, ge=1, description="A leaving gateway gives answers in flight so long.")
    tls: Tls = Field(default=Tls(), description="HTTPS.")


class Redis(Model):
    """Session store at `redis.default.svc.cluster.local:6379`."""

    memory_mib: int = Field(default=256, ge=16, description="maxmemory of each replica in MiB.")
    replicas: Literal[1, 3] | None = Field(
        default=None,
        description="1: one pod on a worker, whose node's death forgets the chats. 3: a group with Sentinel on control planes,"
        " which survives the loss of one. Absent: 3 where there are three control planes, else 1.",
    )
    internal_password_generation: int = Field(
        default=1,
        ge=1,
        description="One more is another password of the group's members among themselves; the one before is taken until it is"
        " raised again. By one at a time: members that are two apart do not take each other's.",
    )


class ImageBuild(Model):
    """How `up` builds the web UI's image, on the machine that runs it, when anything of `images/webui` changed.

    The tool's own login (`docker login`, `buildah login`) is what the registry is shown; no credential is passed.
    """

    tool: Literal["docker", "buildah"] = Field(default="docker", description="Program on the operator's machine.")
    push: ImageReference | None = Field(
        default=None, description="Repository and tag to push to, if not the reference of the image `webui`."
    )
    python_image: ImageReference | None = Field(
        default=None, description="Base image, if not python:3.11-slim-bookworm of Docker Hub."
    )
    pip_index: HttpUrl | None = Field(default=None, description="Package index, if not pypi.org.")
    plain_http: bool = Field(
        default=False, description="`buildah`: push to a registry without TLS, e.g. a mirror of the nodes' own network."
    )


class Images(Model):
    """Image references that differ from components/versions.py, by the name used there."""

    overrides: dict[str, ImageReference] = Field(default_factory=dict, description="name -> full reference.")
    build: ImageBuild | None = Field(
        default=None,
        description="Build the web UI's image from `images/webui` and push it; absent: it is there already.",
    )


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
