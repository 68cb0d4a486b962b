"""In the place of a Prometheus of our own: what tells somebody else's what to read and to compute (docs/adr/0032)."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import Secret, ServiceAccount
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.naming import PART_OF, labels, token
from components.observability.alerts import Watched, rule_groups
from components.observability.node_targets import NODE_TARGETS
from components.observability.operator_objects import (
    API_VERSION,
    SCRAPE_CONFIG_API_VERSION,
    pod_monitor,
    rule_spec,
    scrape_config,
)
from components.observability.prometheus_config import scaling_groups
from components.observability.targets import Target
from components.rbac import Account, grant, grant_in_cluster, paths, rule
from components.settings.operator import Operator

READER = "node-metrics"  # who may ask the kubelets and the control plane
FINDER = "prometheus-of-the-operator"  # name of the roles that let its Prometheus find what it reads


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatedPrometheusArgs:
    operator: Operator
    scrape_seconds: int
    window_seconds: int
    watched: Watched
    runbook_url: str | None
    targets: tuple[Target, ...]
    api_port: int
    namespace: pulumi.Input[str]
    namespace_name: str


class OperatedPrometheus(pulumi.ComponentResource):
    """A PodMonitor for each target, a ScrapeConfig for each of the nodes', PrometheusRules; `url` is where it answers."""

    url: str

    def __init__(self, name: str, args: OperatedPrometheusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "OperatedPrometheus"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        selected = labels(PART_OF, "metrics") | args.operator.labels

        def custom(called: str, version: str, kind: str, spec: object) -> None:
            metadata = ObjectMetaArgs(name=called, namespace=args.namespace, labels=selected)
            CustomResource(f"{name}-{called}", version, kind, metadata=metadata, spec=spec, opts=here)

        for target in args.targets:
            custom(target.job, API_VERSION, "PodMonitor", pod_monitor(target, args.scrape_seconds))
        token_of = self._reader(name, args)
        for node_target in NODE_TARGETS:
            spec = scrape_config(node_target, args.scrape_seconds, args.api_port, token_of)
            custom(node_target.job, SCRAPE_CONFIG_API_VERSION, "ScrapeConfig", spec)
        for called, groups in (
            ("autoscaling", scaling_groups(args.window_seconds)),
            ("alerts", rule_groups(args.watched, args.runbook_url)),
        ):
            custom(called, API_VERSION, "PrometheusRule", rule_spec(groups, args.scrape_seconds))
        if args.operator.service_account is not None:
            self._may_find(name, args, args.operator.service_account)
        self.url = args.operator.url
        self.register_outputs({})

    def _reader(self, name: str, args: OperatedPrometheusArgs) -> str:
        """Name of the Secret with the token of an account that may read numbers and nothing else; the cluster fills it in."""
        here = pulumi.ResourceOptions(parent=self)
        account = Account(name=READER, namespace=args.namespace_name, labels=labels(PART_OF, "metrics"))
        metadata = ObjectMetaArgs(name=READER, namespace=args.namespace, labels=account.labels)
        owner = ServiceAccount(f"{name}-{READER}", metadata=metadata, automount_service_account_token=False, opts=here)
        grant_in_cluster(
            f"{name}-{READER}", account, [rule("", "nodes/metrics", verbs=("get",)), paths("/metrics")], here
        )
        Secret(
            f"{name}-{READER}",
            metadata=ObjectMetaArgs(
                name=READER,
                namespace=args.namespace,
                labels=account.labels,
                annotations={"kubernetes.io/service-account.name": READER},
            ),
            type="kubernetes.io/service-account-token",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[owner]),
        )
        return READER

    def _may_find(self, name: str, args: OperatedPrometheusArgs, service_account: str) -> None:
        """Pods and nodes by their addresses; numbers are read with the token above."""
        here = pulumi.ResourceOptions(parent=self)
        named, where = labels(PART_OF, "metrics"), args.operator.namespace
        theirs = Account(name=service_account, namespace=where, labels=named, role=FINDER)
        for namespace in sorted({target.namespace for target in args.targets}):
            grant(f"{name}-{namespace}", theirs, namespace, [rule("", "pods")], here)
        grant_in_cluster(f"{name}-nodes", theirs, [rule("", "nodes")], here)
