"""A Prometheus Operator that is there already."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from components.settings.base import Model
from components.settings.syntax import DnsName, HttpUrl, Kind, LabelKey, LabelValue, refused

# Where every pod is denied what the program's table of ways does not allow (components/network_policies.py).
OURS = ("default", "traefik", "metallb-system", "observability", "node-agents", "kube-flannel")


def _their_namespace(text: str) -> str:
    if text in OURS:
        raise refused(f"`{text}`", "pods of others may not talk in the program's own namespaces", "Move it to another")
    return text


TheirNamespace = Annotated[DnsName, AfterValidator(_their_namespace), Kind("namespace")]


class Operator(Model):
    """Its Prometheus reads the stack and computes the rules, and the program runs none of its own (docs/adr/0032).

    The operator has to be there, its custom resources above all: set this when a cluster runs and the operator is installed. It
    needs 0.70 or newer, for `ScrapeConfig`. Its Alertmanager tells people; `observability.alerting` is then not used.
    """

    url: HttpUrl = Field(
        description="Address of its Prometheus inside the cluster, e.g. `http://prometheus-operated.monitoring.svc:9090`; the"
        " autoscaler's adapter and Grafana ask there."
    )
    namespace: TheirNamespace = Field(
        description="Namespace of its Prometheus' pods, from where the stack may be read."
    )
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        description="Labels of the objects, by which its Prometheus selects them, e.g. `release: kube-prometheus-stack`.",
    )
    service_account: DnsName | None = Field(
        default=None,
        description="Service account of its Prometheus, which is then allowed to find the stack's pods and nodes; none: it may"
        " already, as kube-prometheus-stack's may.",
    )
