"""containerd's configuration, as text.

One file serves containerd 1.6 (Debian 12), 1.7 (Ubuntu) and 2.x: they all read `version = 2`, and 2.x converts it to its own
version 3 while loading (containerd docs, cri/config.md, "Config versions").
"""

from __future__ import annotations

import json

from components.settings import Kubernetes

CONFIG = "/etc/containerd/config.toml"
NVIDIA = "/etc/containerd/conf.d/nvidia.toml"
CERTS = "/etc/containerd/certs.d"
SOCKET = "unix:///run/containerd/containerd.sock"
CRI = '"io.containerd.grpc.v1.cri"'


def config_toml(kubernetes: Kubernetes, pause_image: str) -> str:
    """containerd's config.toml. Further runtimes come in by files in conf.d."""
    return f"""\
version = 2
imports = ["/etc/containerd/conf.d/*.toml"]

{cri_section(kubernetes, pause_image)}"""


def nvidia_toml(kubernetes: Kubernetes, pause_image: str) -> str:
    """Adds the runtime `nvidia`, which puts the GPUs into a container that is given one.

    containerd 1.x takes a plugin's section of an imported file in the place of the main file's (mergeConfig in
    services/server/config/config.go), 2.x merges the two: so the section is here as a whole, and both come to the same.
    """
    systemd = json.dumps(kubernetes.cgroup_driver == "systemd")
    return f"""\
version = 2

{cri_section(kubernetes, pause_image)}
[plugins.{CRI}.containerd.runtimes.nvidia]
  runtime_type = "io.containerd.runc.v2"

[plugins.{CRI}.containerd.runtimes.nvidia.options]
  BinaryName = "/usr/bin/nvidia-container-runtime"
  SystemdCgroup = {systemd}
"""


def cri_section(kubernetes: Kubernetes, pause_image: str) -> str:
    """What the kubelet's runtime needs: sandbox image, network plugins, runc, registries."""
    systemd = json.dumps(kubernetes.cgroup_driver == "systemd")
    oom = json.dumps(kubernetes.containerd.restrict_oom_score_adj)
    return f"""\
[plugins.{CRI}]
  sandbox_image = {json.dumps(pause_image)}
  restrict_oom_score_adj = {oom}

[plugins.{CRI}.cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"

[plugins.{CRI}.containerd]
  default_runtime_name = "runc"
  discard_unpacked_layers = true

[plugins.{CRI}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.{CRI}.containerd.runtimes.runc.options]
  SystemdCgroup = {systemd}

[plugins.{CRI}.registry]
  config_path = "{CERTS}"
"""


def hosts_toml(mirror: str) -> str:
    """Pulls go to the mirror and nowhere else: behind it, a registry that cannot be reached would cost a time-out each."""
    host = json.dumps(mirror.rstrip("/"))
    return f"""\
server = {host}

[host.{host}]
  capabilities = ["pull", "resolve"]
"""


def registry_files(mirror: str | None) -> dict[str, str]:
    """Path -> text. `_default` stands for every registry, so no image can be forgotten."""
    return {f"{CERTS}/_default/hosts.toml": hosts_toml(mirror)} if mirror else {}


def crictl_yaml() -> str:
    """So that crictl asks containerd without being told each time."""
    return f"runtime-endpoint: {SOCKET}\nimage-endpoint: {SOCKET}\ntimeout: 10\n"
