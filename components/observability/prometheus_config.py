"""Prometheus' configuration and the rules that the autoscaler's metrics come from, as text. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from components.observability.targets import ALERTMANAGER, ENGINES, GPUS, REPLICAS, TARGETS, Target

RULES_FILE = "/etc/prometheus/autoscaling.yml"
ALERTS_FILE = "/etc/prometheus/alerts.yml"
LONGEST_SCRAPE_SECONDS = 10
IN_FLIGHT = "qwen3_vl_requests_in_flight"
GPU_UTILIZATION = "gpu_utilization"


def prometheus_yaml(scrape_seconds: int, *, alerting: bool = False) -> str:
    """`prometheus.yml`: every target of `TARGETS`, found through the Kubernetes API, and Prometheus itself."""
    return _text(
        {
            "global": {
                "scrape_interval": f"{scrape_seconds}s",
                "scrape_timeout": f"{min(scrape_seconds, LONGEST_SCRAPE_SECONDS)}s",
                "evaluation_interval": f"{scrape_seconds}s",
            },
            "rule_files": [RULES_FILE, ALERTS_FILE],
            **({"alerting": alertmanagers()} if alerting else {}),
            "scrape_configs": [
                {"job_name": "prometheus", "static_configs": [{"targets": ["127.0.0.1:9090"]}]},
                *(scrape(target) for target in TARGETS),
            ],
        }
    )


def scrape(target: Target) -> dict[str, Any]:
    """One job. A pod is asked as soon as it has an address; the port's name decides, in sidecars too."""
    pod = "__meta_kubernetes_pod"
    return {
        "job_name": target.job,
        "honor_labels": target.honor_labels,
        "kubernetes_sd_configs": [
            {
                "role": "pod",
                "namespaces": {"names": [target.namespace]},
                "selectors": [{"role": "pod", "label": f"app={target.app}"}],
            }
        ],
        "relabel_configs": [
            {"source_labels": [f"{pod}_container_port_name"], "regex": target.port, "action": "keep"},
            {"source_labels": [f"{pod}_phase"], "regex": "Succeeded|Failed", "action": "drop"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": [f"{pod}_name"], "target_label": "pod"},
            {"source_labels": [f"{pod}_node_name"], "target_label": "node"},
        ],
        **({"metric_relabel_configs": [kept(target.keep)]} if target.keep else {}),
    }


def alertmanagers() -> dict[str, Any]:
    """Every Alertmanager is told every alert; they agree who sends. Two of Prometheus have to say the same."""
    found = scrape(ALERTMANAGER)
    keep = found["relabel_configs"][:2]
    return {
        "alert_relabel_configs": [{"regex": "replica", "action": "labeldrop"}],
        "alertmanagers": [{"kubernetes_sd_configs": found["kubernetes_sd_configs"], "relabel_configs": keep}],
    }


def kept(names: str) -> dict[str, Any]:
    return {"source_labels": ["__name__"], "regex": names, "action": "keep"}


def rules_yaml(window_seconds: int) -> str:
    """The two metrics of the autoscaler, averaged over `window_seconds`.

    `... and X` leaves out what is gone: an average alone would count a pod that has left for as long as the window.

    GPU utilisation is a sum, because the autoscaler divides by the number of replicas. A sum with a part missing would
    read as less load and take replicas away; so there is a value only while the GPU of every replica is reported, and
    none (on which the autoscaler holds) when an exporter is silent.
    """
    window = f"[{window_seconds}s]"
    flying = f'webui_requests_in_flight{{job="{REPLICAS.job}"}}'
    mine = f'namespace="{REPLICAS.namespace}",pod=~"{REPLICAS.app}-.+"'
    gpu = f'DCGM_FI_DEV_GPU_UTIL{{job="{GPUS.job}",{mine}}}'
    replicas = f'up{{job="{ENGINES.job}"}}'
    rules = [
        {
            "record": IN_FLIGHT,
            "expr": f"sum by (namespace, pod) (avg_over_time({flying}{window}) and {flying})",
        },
        {
            "record": GPU_UTILIZATION,
            "expr": f"sum by (namespace) (avg_over_time({gpu}{window}) and {gpu})"
            f" and (count by (namespace) (count by (namespace, pod) ({gpu})) >= count by (namespace) ({replicas}))",
        },
    ]
    return _text({"groups": [{"name": "autoscaling", "rules": rules}]})


def _text(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=200)
