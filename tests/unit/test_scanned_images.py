"""Which images are scanned, where they are read, and when."""

from __future__ import annotations

from typing import Any

import pytest

from components.observability.image_scan import schedule
from components.observability.scanned_images import scanned_images, where
from components.settings.observability import ImageScan
from components.settings.parse import parse
from components.settings.problem import SettingsError
from components.versions import IMAGES
from tests.support.settings import with_value

DIGEST = f"@sha256:{'a' * 64}"


def scanned(*path: str, value: Any = None) -> dict[str, str]:
    """Of the valid config with one value; nothing scales by GPUs, so that somebody else's exporter is no mistake."""
    config = with_value(path or ("kubernetes", "version"), value if path else "1.34.2")
    config.setdefault("autoscaling", {})["gpuUtilization"] = 0
    return scanned_images(parse(config))


def test_an_image_is_read_where_nodes_pull_it() -> None:
    assert scanned()["traefik"] == IMAGES["traefik"].reference
    assert scanned()["kube-apiserver"] == "registry.k8s.io/kube-apiserver:v1.34.2"
    behind = scanned("mirrors", "images", value="http://10.0.0.5:5000")
    assert behind["traefik"] == "10.0.0.5:5000/library/traefik:v3.7.15"
    assert behind["etcd"] == "10.0.0.5:5000/etcd:3.6.5-0"
    assert {reference.partition("/")[0] for reference in behind.values()} == {"10.0.0.5:5000"}
    assert where(f"ghcr.io/a/b:v1{DIGEST}", "https://mirror.example.com/") == f"mirror.example.com/a/b:v1{DIGEST}"


def test_an_override_is_what_runs() -> None:
    mine = f"registry.example.com/mine/redis:7.4{DIGEST}"
    assert scanned("images", "overrides", "redis", value=mine)["redis"] == mine


def test_an_image_that_is_built_is_read_where_it_was_pushed() -> None:
    pushed = "registry.example.com/team/webui:v2"
    assert scanned("images", "build", value={"push": pushed})["webui"] == pushed


@pytest.mark.parametrize(
    ("path", "value", "gone", "there"),
    [
        (("inference", "engine"), "vllm", {"tensorrt-llm"}, {"vllm"}),
        (("redis", "replicas"), 1, {"haproxy"}, {"redis"}),
        (("redis", "replicas"), 3, set(), {"haproxy"}),
        (("gpu", "driver"), {"owner": "operator"}, {"nvidia-device-plugin", "dcgm-exporter"}, set()),
        (("gpu", "dcgmExporter"), False, {"dcgm-exporter"}, {"nvidia-device-plugin"}),
        (("observability", "imageScan", "skip"), ["vllm"], {"vllm"}, {"webui"}),
        (("autoscaling", "enabled"), False, {"metrics-server", "prometheus-adapter"}, {"prometheus", "trivy"}),
        (("observability", "imageScan", "enabled"), False, {"trivy"}, {"prometheus"}),
        (("kubernetes", "version"), "1.33.1", {"etcd", "coredns"}, {"kube-proxy", "pause"}),
    ],
)
def test_what_does_not_run_is_not_scanned(path: tuple[str, ...], value: Any, gone: set[str], there: set[str]) -> None:
    found = set(scanned(*path, value=value))
    assert not gone & found
    assert there <= found


@pytest.mark.parametrize(
    ("hours", "start", "fields"),
    [
        (24, "03:17", "17 3 * * *"),
        (12, "03:17", "17 3,15 * * *"),
        (6, "22:05", "5 4,10,16,22 * * *"),
        (168, "00:00", "0 0 * * 0"),
    ],
)
def test_when_it_runs(hours: Any, start: str, fields: str) -> None:
    assert schedule(ImageScan(every_hours=hours, starts_at=start)) == fields


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("skip", ["vlm"], "observability.imageScan.skip[0]: unknown name `vlm`"),
        ("startsAt", "24:00", "observability.imageScan.startsAt: `24:00`; a time of day is `HH:MM`"),
        ("everyHours", 5, "observability.imageScan.everyHours"),
    ],
)
def test_what_makes_no_sense_is_refused(key: str, value: Any, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(with_value(("observability", "imageScan", key), value))
    assert said in str(refused.value)
