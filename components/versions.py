"""Every version and image that is not the user's choice: data only, one place to update."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """A container image: registry and repository, tag, and the digest of its index where it is fixed."""

    repository: str
    tag: str
    digest: str | None = None

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}" + (f"@{self.digest}" if self.digest else "")


IMAGES: dict[str, Image] = {
    "flannel": Image("ghcr.io/flannel-io/flannel", "v0.26.7"),
    "flannel-cni-plugin": Image("ghcr.io/flannel-io/flannel-cni-plugin", "v1.7.1-flannel1"),
    "kube-router": Image("docker.io/cloudnativelabs/kube-router", "v2.6.3"),
    "metallb-controller": Image("quay.io/metallb/controller", "v0.15.2"),
    "metallb-speaker": Image("quay.io/metallb/speaker", "v0.15.2"),
    "traefik": Image("docker.io/library/traefik", "v3.7.15"),
    "redis": Image("docker.io/library/redis", "7.0-bookworm"),
    "haproxy": Image("docker.io/library/haproxy", "2.6-bookworm"),
    "nvidia-device-plugin": Image("nvcr.io/nvidia/k8s-device-plugin", "v0.17.1"),
    "metrics-server": Image("registry.k8s.io/metrics-server/metrics-server", "v0.9.0"),
    "prometheus": Image("docker.io/prom/prometheus", "v3.13.0"),
    "node-exporter": Image("docker.io/prom/node-exporter", "v1.9.1"),
    "kube-state-metrics": Image("registry.k8s.io/kube-state-metrics/kube-state-metrics", "v2.15.0"),
    "alertmanager": Image("docker.io/prom/alertmanager", "v0.31.1"),
    "prometheus-adapter": Image("registry.k8s.io/prometheus-adapter/prometheus-adapter", "v0.12.0"),
    "dcgm-exporter": Image("nvcr.io/nvidia/k8s/dcgm-exporter", "4.6.0-4.8.3-distroless"),
    # The last minor of 12 is supported for longer than the others (docs/adr/0028).
    "grafana": Image("docker.io/grafana/grafana", "12.4.11"),
    "trivy": Image("docker.io/aquasec/trivy", "0.74.0"),
    "loki": Image("docker.io/grafana/loki", "3.7.8"),
    "jaeger": Image("docker.io/jaegertracing/jaeger", "2.13.0"),
    "webui": Image("registry.example.com/qwen3-vl-webui", "v1.0"),
    # `--shutdown-timeout` came with v0.18; v0.19.1 is the last whose plain tag is built for CUDA 12 (12.9; from v0.20 on it is
    # CUDA 13), which the drivers of the manual's CUDA 12 generation run.
    "vllm": Image("docker.io/vllm/vllm-openai", "v0.19.1"),
    # The dense Qwen3-VL came with the 1.3 line (TensorRT-LLM#9060), of which only release candidates exist.
    "tensorrt-llm": Image("nvcr.io/nvidia/tensorrt-llm/release", "1.3.0rc20"),
    "model-cache": Image("registry.example.com/qwen3-vl-model-cache", "v1.0"),
    "acme-issuer": Image("registry.example.com/qwen3-vl-acme-issuer", "v1.0"),
    "log-collector": Image("registry.example.com/qwen3-vl-log-collector", "v1.0"),
}
# Engine images are named by tag: their digests could not be read from here. To pin one, read it where the registry is in reach
# (`skopeo inspect docker://IMAGE --format '{{.Digest}}'`) and set `images.overrides`, e.g. vllm: `...:v0.19.1@sha256:...`.

# pause image of the Kubernetes minor; kubeadm's own constant, `kubeadm config images list` names it.
PAUSE_IMAGE = "registry.k8s.io/pause:3.10.1"

# What kubeadm runs beside its own release, by Kubernetes minor: constants.go of its newest patch known here; of another minor
# they are not scanned (components/observability/scanned_images.py).
KUBEADM_IMAGES: dict[str, tuple[Image, ...]] = {
    "1.34": (Image("registry.k8s.io/etcd", "3.6.5-0"), Image("registry.k8s.io/coredns/coredns", "v1.12.1")),
}

# Packages that Kubernetes' repository carries beside its own release, by Kubernetes minor; another minor takes the newest.
KUBERNETES_TOOLS: dict[str, dict[str, str]] = {
    "1.34": {"kubernetes-cni": "1.7.1-1.1"},
}

# NVIDIA's driver by distribution; the release that CUDA 13.0.2 comes with, and the last CUDA that knew Ubuntu 20.04 (12.8.1).
NVIDIA_DRIVER = "580.95.05"
NVIDIA_DRIVERS: dict[str, str] = {"ubuntu2004": "570.124.06"}

# cudatools <cudatools@nvidia.com>, the key of every repository below developer.download.nvidia.com/compute/cuda/repos.
CUDA_KEY_FINGERPRINT = "EB693B3035CD5710E231E123A4B469963BF863CC"
# NVIDIA CORPORATION (Open Source Projects) <cudatools@nvidia.com>, the key of nvidia.github.io/libnvidia-container.
TOOLKIT_KEY_FINGERPRINT = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"

# isv:kubernetes OBS Project, the key of every repository below pkgs.k8s.io. Its expiry is extended in place, so its file changes.
KUBERNETES_KEY_FINGERPRINT = "DE15B14486CD377B9E876E1A234654DA9A296436"
