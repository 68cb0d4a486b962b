"""What must stay up while one node is away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tests.policy.findings import Finding, label
from tests.policy.objects import REPLICATED, of_kind, pod_labels, pod_spec, selects
from tests.support.graph import Graph
from tests.support.manifests import Manifest

ACROSS = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
TERMS = ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution")


def replicas_have_a_budget_that_lets_one_go(graph: Graph) -> Iterator[Finding]:
    for workload, fewest in _replicated(graph):
        budgets = [
            each
            for each in of_kind(graph, "PodDisruptionBudget")
            if each.namespace == workload.namespace and selects(each.spec.get("selector"), pod_labels(workload))
        ]
        if not budgets:
            yield Finding(
                resource=label(workload.resource),
                found="no PodDisruptionBudget selects its pods",
                rule_says="a drain takes replicas one after another",
                remedy="Add one with max_unavailable=1",
            )
        for budget in budgets:
            if not _lets_one_go(budget.spec, fewest):
                yield Finding(
                    resource=label(budget.resource),
                    found=f"lets none of {fewest} pods go",
                    rule_says="a drain is not held up for ever",
                    remedy="Set max_unavailable=1",
                )


def replicas_are_on_different_nodes(graph: Graph) -> Iterator[Finding]:
    for workload, _ in _replicated(graph):
        if not any(selects(selector, pod_labels(workload)) for selector in _kept_apart(pod_spec(workload))):
            yield Finding(
                resource=label(workload.resource),
                found="nothing keeps its replicas on different nodes",
                rule_says="one node's death leaves a replica",
                remedy="Use `over_nodes` or `apart` of components/pods.py with the labels of its pods",
            )


def the_autoscaler_alone_sets_the_replicas(graph: Graph) -> Iterator[Finding]:
    for workload in of_kind(graph, *REPLICATED):
        if _autoscaler(graph, workload) is None or "replicas" not in workload.spec:
            continue
        if "spec.replicas" not in workload.resource.ignore_changes:
            yield Finding(
                resource=label(workload.resource),
                found="spec.replicas is set and not among ignore_changes",
                rule_says="`up` never takes back what the autoscaler did",
                remedy='Add ignore_changes=["spec.replicas"] or leave replicas out',
            )


def _replicated(graph: Graph) -> Iterator[tuple[Manifest, int]]:
    """Workloads with two replicas or more, or an autoscaler; with the fewest there are."""
    for workload in of_kind(graph, *REPLICATED):
        autoscaler = _autoscaler(graph, workload)
        fewest = int(workload.spec.get("replicas", 1) if autoscaler is None else autoscaler.spec.get("minReplicas", 1))
        if fewest > 1 or autoscaler is not None:
            yield workload, fewest


def _autoscaler(graph: Graph, workload: Manifest) -> Manifest | None:
    for each in of_kind(graph, "HorizontalPodAutoscaler"):
        target = each.spec["scaleTargetRef"]
        if (each.namespace, target["kind"], target["name"]) == (workload.namespace, workload.kind, workload.name):
            return each
    return None


def _lets_one_go(budget: dict[str, Any], replicas: int) -> bool:
    """As the disruption controller counts: shares are rounded up, on both sides."""

    def pods(amount: int | str) -> int:
        share = isinstance(amount, str) and amount.endswith("%")
        return math.ceil(int(str(amount).rstrip("%")) * replicas / 100) if share else int(amount)

    if "maxUnavailable" in budget:
        return pods(budget["maxUnavailable"]) >= 1
    return pods(budget.get("minAvailable", 0)) < replicas


def _kept_apart(pod: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
    """Selectors of the pods that this one is kept away from."""
    for constraint in pod.get("topologySpreadConstraints", ()):
        if constraint["topologyKey"] in ACROSS:
            yield constraint.get("labelSelector")
    rules = (pod.get("affinity") or {}).get("podAntiAffinity") or {}
    for kind in TERMS:
        for entry in rules.get(kind, ()):
            term = entry.get("podAffinityTerm", entry)
            if term["topologyKey"] in ACROSS:
                yield term.get("labelSelector")


RULES = (
    replicas_have_a_budget_that_lets_one_go,
    replicas_are_on_different_nodes,
    the_autoscaler_alone_sets_the_replicas,
)
