"""The targets and rules of our own Prometheus as objects of a Prometheus Operator's: the specs of its custom resources. Pure.

What is read, with which labels, and what is kept of it come from the configuration of our own (prometheus_config.py). But for the
job's name: such a cluster has a `kubelet`, a `node-exporter` and a `coredns` of its own, whose numbers would be added to ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from components.observability.node_targets import CONTROL_PLANE_LABEL, NodeTarget
from components.observability.prometheus_config import LONGEST_SCRAPE_SECONDS, scrape, scrape_node
from components.observability.targets import TARGETS, Target
from components.traffic import CLUSTER_DNS, Pods

API_VERSION = "monitoring.coreos.com/v1"
SCRAPE_CONFIG_API_VERSION = "monitoring.coreos.com/v1alpha1"
PREFIX = "qwen3-vl/"
# As the operator's own words for what Prometheus calls so.
CAMEL = {"source_labels": "sourceLabels", "target_label": "targetLabel"}
# What the operator adds and our own does not have: another label would make other series of the same numbers.
ADDED = {"action": "labeldrop", "regex": "container|endpoint"}


def read(running: Iterable[Pods]) -> tuple[Target, ...]:
    """The targets that there are: our own Prometheus finds nothing behind the others, here each would be an object."""
    there = {*running, CLUSTER_DNS}
    return tuple(each for each in TARGETS if Pods(each.namespace, each.app, each.label) in there)


def pod_monitor(target: Target, scrape_seconds: int) -> dict[str, Any]:
    """Spec of a PodMonitor. The operator itself adds namespace and pod, and leaves out pods that have ended."""
    ours = scrape(target)
    return {
        "namespaceSelector": {"matchNames": [target.namespace]},
        "selector": {"matchLabels": {target.label: target.app}},
        "podMetricsEndpoints": [
            {
                "port": target.port,
                "path": "/metrics",
                **pace("interval", scrape_seconds),
                "honorLabels": target.honor_labels,
                "relabelings": [
                    {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"},
                    {"targetLabel": "job", "replacement": PREFIX + target.job},
                    ADDED,
                ],
                "metricRelabelings": [camel(rule) for rule in ours.get("metric_relabel_configs", [])],
            }
        ],
    }


def scrape_config(target: NodeTarget, scrape_seconds: int, api_port: int, secret: str) -> dict[str, Any]:
    """Spec of a ScrapeConfig of what listens at the nodes' own addresses.

    `secret` holds a service account's `token` and the cluster's `ca.crt`: the operator lets nobody name a file of its pods.
    """
    ours = scrape_node(target, api_port)
    found: dict[str, Any] = {"role": "Node"}
    if target.control_planes:
        found["selectors"] = [{"role": "Node", "label": CONTROL_PLANE_LABEL}]
    verified = {"ca": {"secret": {"name": secret, "key": "ca.crt"}}}
    secure = {
        "scheme": "HTTPS",
        "authorization": {"credentials": {"name": secret, "key": "token"}},
        "tlsConfig": verified if target.verified else {"insecureSkipVerify": True},
    }
    return {
        "jobName": PREFIX + target.job,
        "metricsPath": target.path,
        **pace("scrapeInterval", scrape_seconds),
        **(secure if target.tls else {}),
        "kubernetesSDConfigs": [found],
        "relabelings": [camel(rule) for rule in ours["relabel_configs"]],
        "metricRelabelings": [camel(rule) for rule in ours["metric_relabel_configs"]],
    }


def pace(interval: str, scrape_seconds: int) -> dict[str, str]:
    return {interval: f"{scrape_seconds}s", "scrapeTimeout": f"{min(scrape_seconds, LONGEST_SCRAPE_SECONDS)}s"}


def camel(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {CAMEL.get(key, key): value for key, value in rule.items()}


def rule_spec(groups: Iterable[Mapping[str, Any]], scrape_seconds: int) -> dict[str, Any]:
    """Spec of a PrometheusRule with groups of our own Prometheus, all computed as often as targets are read."""
    return {
        "groups": [
            {
                **group,
                "interval": f"{scrape_seconds}s",
                "rules": [{**rule, "expr": of_our_jobs(rule["expr"])} for rule in group["rules"]],
            }
            for group in groups
        ]
    }


def of_our_jobs(text: str) -> str:
    """PromQL, or JSON with PromQL in it, in which each selector asks for a job of ours by its name there.

    Every selector names its job, or a metric that nobody else has: tests/engine/test_prometheus_operator.py.
    """
    return re.sub(r'\bjob=(\\?")', rf"job=\1{PREFIX}", text)
