"""Prometheus' configuration and the rules that the autoscaler's metrics come from, as text. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from components.observability.node_targets import CONTROL_PLANE_LABEL, NODE_TARGETS, NodeTarget
from components.observability.targets import ALERTMANAGER, ENGINES, GPUS, REPLICAS, TARGETS, Target
from components.settings.observability import RemoteWrite

RULES_FILE = "/etc/prometheus/autoscaling.yml"
ALERTS_FILE = "/etc/prometheus/alerts.yml"
CREDENTIAL_FOLDER = "/etc/prometheus-remote-write"
CREDENTIAL_FILE = f"{CREDENTIAL_FOLDER}/token"
LONGEST_SCRAPE_SECONDS = 10
EXEMPLARS = 10_000  # the newest that are kept, of all series together; some 100 bytes of memory each
IN_FLIGHT = "qwen3_vl_requests_in_flight"
GPU_UTILIZATION = "gpu_utilization"


def prometheus_yaml(
    scrape_seconds: int,
    api_port: int = 6443,
    remote_write: RemoteWrite | None = None,
    credential: bool = False,
    *,
    alerting: bool = False,
) -> str:
    """`prometheus.yml`: every target of `TARGETS` and `NODE_TARGETS`, found through the Kubernetes API, and Prometheus itself.

    `credential`: there is a bearer token for `remote_write` in CREDENTIAL_FILE. One text for both replicas: each puts its own
    name in. Alerts of the two have to be the same for whoever receives them, so there it is taken off again.
    """
    return _text(
        {
            "global": {
                "scrape_interval": f"{scrape_seconds}s",
                "scrape_timeout": f"{min(scrape_seconds, LONGEST_SCRAPE_SECONDS)}s",
                "evaluation_interval": f"{scrape_seconds}s",
                "external_labels": {"replica": "${POD_NAME}"},
            },
            "rule_files": [RULES_FILE, ALERTS_FILE],
            "storage": {"exemplars": {"max_exemplars": EXEMPLARS}},
            **({"alerting": alertmanagers()} if alerting else {}),
            "scrape_configs": [
                {"job_name": "prometheus", "static_configs": [{"targets": ["127.0.0.1:9090"]}]},
                *(scrape(target) for target in TARGETS),
                *(scrape_node(target, api_port) for target in NODE_TARGETS),
            ],
            **({"remote_write": [write(remote_write, credential)]} if remote_write else {}),
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
                "selectors": [{"role": "pod", "label": f"{target.label}={target.app}"}],
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


def scrape_node(target: NodeTarget, api_port: int) -> dict[str, Any]:
    """One job of something that listens at the nodes' own addresses."""
    node, folder = "__meta_kubernetes_node", "/var/run/secrets/kubernetes.io/serviceaccount"
    config: dict[str, Any] = {"role": "node"}
    if target.control_planes:
        config["selectors"] = [{"role": "node", "label": CONTROL_PLANE_LABEL}]
    secure = {
        "scheme": "https",
        "authorization": {"credentials_file": f"{folder}/token"},
        "tls_config": {"ca_file": f"{folder}/ca.crt"} if target.verified else {"insecure_skip_verify": True},
    }
    return {
        "job_name": target.job,
        "metrics_path": target.path,
        **(secure if target.tls else {}),
        "kubernetes_sd_configs": [config],
        "relabel_configs": [
            {
                "source_labels": [f"{node}_address_InternalIP"],
                "target_label": "__address__",
                "replacement": f"$1:{target.port or api_port}",
            },
            {"source_labels": [f"{node}_name"], "target_label": "node"},
        ],
        "metric_relabel_configs": [kept(target.keep), *target.drop],
    }


def write(remote: RemoteWrite, credential: bool) -> dict[str, Any]:
    shown = {"authorization": {"credentials_file": CREDENTIAL_FILE}} if credential else {}
    return {"url": remote.url, **shown}


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
    """The rules file of `scaling_groups`."""
    return _text({"groups": scaling_groups(window_seconds)})


def scaling_groups(window_seconds: int) -> list[dict[str, Any]]:
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
    return [{"name": "autoscaling", "rules": rules}]


def _text(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=200)
