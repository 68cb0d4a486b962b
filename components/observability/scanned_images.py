"""Which images the program runs, and where a scanner reads them. Pure."""

from __future__ import annotations

from components.images import image
from components.settings import Images, Settings
from components.tracing import jaeger_runs
from components.versions import IMAGES, KUBEADM_IMAGES, PAUSE_IMAGE

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
ENGINES = {"vllm", "tensorrt-llm"}


def scanned_images(settings: Settings) -> dict[str, str]:
    """Name -> reference, in the mirror where there is one: everything in versions.py but what this stack does not run."""
    left_out = unused(settings) | set(settings.observability.image_scan.skip)
    ours = {name: reference(name, settings.images) for name in IMAGES if name not in left_out}
    mirror = settings.mirrors.images
    return {name: where(each, mirror) for name, each in sorted((ours | of_kubeadm(settings)).items())}


def unused(settings: Settings) -> set[str]:
    """A new image is scanned unless it is named here; tests/policy compares with what the pods run."""
    gpu, tls = settings.gpu, settings.ingress.tls
    names = ENGINES - {settings.inference.engine}
    if not settings.autoscaling.enabled:
        names |= {"metrics-server", "prometheus-adapter"}
    if not settings.observability.enabled:
        names |= {"prometheus", "node-exporter", "kube-state-metrics", "trivy", "grafana"}
    if settings.observability.operator:
        names |= {"prometheus"}
    if not settings.observability.grafana.enabled:
        names |= {"grafana"}
    if not settings.observability.image_scan.enabled:
        names |= {"trivy"}
    if not settings.observability.collected.enabled:
        names |= {"loki", "log-collector"}
    if not settings.observability.told.on:
        names |= {"alertmanager"}
    if not jaeger_runs(settings):
        names |= {"jaeger"}
    if settings.redis_replicas == 1:
        names |= {"haproxy"}
    if tls.acme is None:
        names |= {"acme-issuer"}
    if gpu.driver.owner == "operator":
        names |= {"nvidia-device-plugin", "dcgm-exporter"}
    if not gpu.dcgm_exporter:
        names |= {"dcgm-exporter"}
    return names


def reference(name: str, images: Images) -> str:
    """What a pod is given; of an image that `up` builds, the tag that it pushes."""
    pushed = images.build.push if images.build and name == "webui" else None
    return pushed or image(name, images)


def of_kubeadm(settings: Settings) -> dict[str, str]:
    """The control plane's static pods, kube-proxy, CoreDNS and the pause container."""
    version = settings.kubernetes.version
    minor = ".".join(version.split(".")[:2])
    found = {name: f"registry.k8s.io/{name}:v{version}" for name in CONTROL_PLANE}
    found |= {each.repository.rpartition("/")[2]: each.reference for each in KUBEADM_IMAGES.get(minor, ())}
    return found | {"pause": PAUSE_IMAGE}


def where(reference: str, mirror: str | None) -> str:
    """A mirror serves every registry's repositories under their own paths (docs/mirror.md)."""
    if mirror is None:
        return reference
    host = mirror.partition("://")[2].rstrip("/")
    return f"{host}/{reference.partition('/')[2]}"
