"""prometheus-adapter: the autoscaler's two metrics out of Prometheus, as APIs of Kubernetes. Pure."""

from __future__ import annotations

from typing import Any

import pulumi
import yaml

from components.images import image
from components.observability.extension_api import CONFIG_FILE, Api, ExtensionApiArgs
from components.observability.prometheus_config import GPU_UTILIZATION, IN_FLIGHT
from components.observability.targets import REPLICAS
from components.rbac import rule
from components.settings import Images

NAME = "prometheus-adapter"


def prometheus_adapter(
    *,
    images: Images,
    replicas: int,
    namespace: pulumi.Input[str],
    namespace_name: str,
    prometheus_url: str,
    scrape_seconds: int,
) -> ExtensionApiArgs:
    """It looks up the pods behind a selector in the replicas' namespace, and nothing else in the cluster."""
    return ExtensionApiArgs(
        apis=(
            Api(group="custom.metrics.k8s.io", version="v1beta2"),
            Api(group="external.metrics.k8s.io", version="v1beta1"),
        ),
        image=image("prometheus-adapter", images),
        arguments=(
            f"--prometheus-url={prometheus_url}",
            f"--config={CONFIG_FILE}",
            # The series it knows of: after a start of Prometheus, a metric is served again this much later at most.
            f"--metrics-relist-interval={2 * scrape_seconds}s",
        ),
        memory="256Mi",
        replicas=replicas,
        namespace=namespace,
        namespace_name=namespace_name,
        rules={REPLICAS.namespace: (rule("", "pods", verbs=("get", "list")),)},
        config=adapter_yaml(),
    )


def adapter_yaml() -> str:
    """Both metrics are computed in Prometheus already (`rules_yaml`); here they are only looked up."""

    def served(metric: str, *resources: str) -> dict[str, Any]:
        present = ",".join(f'{resource}!=""' for resource in resources)
        return {
            "seriesQuery": f"{metric}{{{present}}}",
            "resources": {"overrides": {resource: {"resource": resource} for resource in resources}},
            "name": {"as": metric},
            "metricsQuery": "<<.Series>>{<<.LabelMatchers>>}",
        }

    document = {
        "rules": [served(IN_FLIGHT, "namespace", "pod")],
        "externalRules": [served(GPU_UTILIZATION, "namespace")],
    }
    return yaml.safe_dump(document, sort_keys=False, width=200)
