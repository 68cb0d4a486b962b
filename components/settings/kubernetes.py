"""Kubernetes itself: version, networks, API endpoint, kubelet and kube-proxy options."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from pydantic import Field

from components.settings.backup import Backup
from components.settings.base import Model
from components.settings.syntax import DnsName, Version


class Containerd(Model):
    """Container runtime options."""

    restrict_oom_score_adj: bool = Field(
        default=False, description="For nodes that are containers themselves and may not lower the OOM score."
    )


class Kubernetes(Model):
    """The cluster that kubeadm makes."""

    version: Version = Field(
        default="1.34.2", description="Exact version of kubeadm, kubelet, kubectl and the control plane."
    )
    package_revision: str = Field(
        default="1.1", description="Debian revision of the kubeadm, kubelet and kubectl packages."
    )
    pod_subnet: IPv4Network = Field(
        default=IPv4Network("10.244.0.0/16"), description="Addresses of pods; each node takes a /24 of it."
    )
    service_subnet: IPv4Network = Field(
        default=IPv4Network("10.96.0.0/12"), description="Virtual addresses of services."
    )
    dns_domain: DnsName = Field(default="cluster.local", description="DNS domain of services.")
    api_address: IPv4Address | None = Field(
        default=None,
        description="Virtual address of the API, held by one healthy control plane. May be absent with one control plane only.",
    )
    api_port: int = Field(
        default=6443, ge=1, le=65535, description="Port of the API, on `apiAddress` and on every control plane."
    )
    cgroup_driver: Literal["systemd", "cgroupfs"] = Field(
        default="systemd", description="Who manages cgroups, for kubelet and containerd alike."
    )
    kubelet: dict[str, Any] = Field(default_factory=dict, description="Merged over the generated KubeletConfiguration.")
    kube_proxy: dict[str, Any] = Field(
        default_factory=dict, description="Merged over the generated KubeProxyConfiguration."
    )
    encryption_key_generation: int = Field(
        default=1,
        ge=1,
        description="Another number is another key for Secrets in etcd: `up` brings it to every control plane, writes all Secrets"
        " with it and drops the old one. All control planes must be reachable.",
    )
    ignore_preflight: tuple[str, ...] = Field(
        default=(), description="kubeadm's own preflight checks to ignore, by its names."
    )
    network_policies: bool = Field(
        default=True,
        description="Pods talk to whom they have to and to nobody else ([security.md](security.md#who-talks-to-whom)).",
    )
    containerd: Containerd = Field(default=Containerd(), description="Container runtime.")
    backup: Backup = Field(default=Backup(), description="Backups of etcd.")
