"""Prometheus' own promtool reads the configuration and computes the autoscaler's metrics, with parts of the picture missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.observability.alerts import alerts_yaml
from components.observability.alerts.index import everything
from components.observability.prometheus_config import ALERTS_FILE, RULES_FILE, prometheus_yaml, rules_yaml
from tests.support import promtool

pytestmark = pytest.mark.engine
WINDOW, EVERY = 60, 15
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
NOW = 300  # seconds after the first sample


@pytest.mark.parametrize("scrape_seconds", [1, 5, 15, 60])
def test_the_configuration_is_accepted(scrape_seconds: int, tmp_path: Path) -> None:
    config = prometheus_yaml(scrape_seconds)
    for file, text in ((RULES_FILE, rules_yaml(2 * scrape_seconds)), (ALERTS_FILE, alerts_yaml(everything(), None))):
        here = tmp_path / Path(file).name
        here.write_text(text)
        assert file in config
        config = config.replace(file, str(here))
    for name in ("token", "ca.crt"):  # what a pod is given
        (tmp_path / name).write_text("")
        assert f"{SERVICE_ACCOUNT}/{name}" in config
    (tmp_path / "prometheus.yml").write_text(config.replace(SERVICE_ACCOUNT, str(tmp_path)))
    done = promtool.run("check", "config", "--lint=all", "prometheus.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rules found" in done.stdout


def gpu(pod: str, values: str, namespace: str = "default", exporter: str = "a") -> dict[str, str]:
    labels = f'job="dcgm-exporter",namespace="{namespace}",pod="{pod}",gpu="0",UUID="{exporter}"'
    return {"series": f"DCGM_FI_DEV_GPU_UTIL{{{labels}}}", "values": values}


def engine(pod: str, values: str = "1x30") -> dict[str, str]:
    """A replica that Prometheus knows of: 1 while it can be read, 0 while it cannot."""
    return {"series": f'up{{job="qwen3-vl-engine",namespace="default",pod="{pod}"}}', "values": values}


def flying(pod: str, values: str, kind: str = "chat") -> dict[str, str]:
    labels = f'job="qwen3-vl-webui",namespace="default",pod="{pod}",kind="{kind}"'
    return {"series": f"webui_requests_in_flight{{{labels}}}", "values": values}


A, B = "qwen3-vl-webui-7c9d8bfb5c-aaaaa", "qwen3-vl-webui-7c9d8bfb5c-bbbbb"
STEADY = "+0x30"


CASES: list[tuple[str, list[dict[str, str]], str, dict[str, float]]] = [
    (
        "two replicas: the sum, which the autoscaler divides by two",
        [gpu(A, "90" + STEADY), gpu(B, "70" + STEADY, exporter="b"), engine(A), engine(B)],
        "gpu_utilization",
        {"default": 160},
    ),
    (
        "an average over the window, not the last value",
        [gpu(A, "0x18 100x10"), engine(A)],  # 100 since second 285: two of the four samples in the window
        "gpu_utilization",
        {"default": 50},
    ),
    (
        "one exporter silent: no value, rather than half of the load",
        [gpu(A, "90" + STEADY), gpu(B, "70x10 stale", exporter="b"), engine(A), engine(B)],
        "gpu_utilization",
        {},
    ),
    (
        "an engine that cannot be read is still a replica",
        [gpu(A, "90" + STEADY), engine(A), engine(B, "0x30")],
        "gpu_utilization",
        {},
    ),
    (
        "a replica that has left is not counted for as long as the window",
        [gpu(A, "90" + STEADY), gpu(B, "70x19 stale", exporter="b"), engine(A), engine(B, "1x19 stale")],
        "gpu_utilization",
        {"default": 90},
    ),
    (
        "other pods' GPUs and free ones are not ours",
        [
            gpu(A, "50" + STEADY),
            gpu("training-x", "100" + STEADY, exporter="b"),
            gpu(B, "100" + STEADY, namespace="other", exporter="c"),
            gpu("dcgm-exporter-x", "100" + STEADY, namespace="kube-system", exporter="d"),
            engine(A),
        ],
        "gpu_utilization",
        {"default": 50},
    ),
    (
        "two GPUs of one replica do not stand for the missing one of another",
        [gpu(A, "90" + STEADY), gpu(A, "90" + STEADY, exporter="b"), engine(A), engine(B)],
        "gpu_utilization",
        {},
    ),
    ("nobody reports", [engine(A)], "gpu_utilization", {}),
    (
        "requests of the page and of /v1 together, for each replica",
        [flying(A, "3" + STEADY), flying(A, "4" + STEADY, "api"), flying(B, "1" + STEADY)],
        "qwen3_vl_requests_in_flight",
        {A: 7, B: 1},
    ),
    (
        "a replica that cannot be read has no value, rather than an old one",
        [flying(A, "3" + STEADY), flying(B, "9x19 stale")],
        "qwen3_vl_requests_in_flight",
        {A: 3},
    ),
]


@pytest.mark.parametrize(
    ("series", "metric", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_autoscalers_metrics(
    series: list[dict[str, str]], metric: str, expected: dict[str, float], tmp_path: Path
) -> None:
    def labels(key: str) -> str:
        return (
            f'{metric}{{namespace="default",pod="{key}"}}'
            if "in_flight" in metric
            else f'{metric}{{namespace="{key}"}}'
        )

    samples = [{"labels": labels(key), "value": value} for key, value in expected.items()]
    promtool.try_rules(
        tmp_path,
        {"rules.yml": rules_yaml(WINDOW)},
        {each["series"]: each["values"] for each in series},
        [{"expr": metric, "eval_time": f"{NOW}s", "exp_samples": samples}],
        EVERY,
    )
