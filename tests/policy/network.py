"""Who may talk to whom. What a component of the program is reached at, its policies have to open, and nothing is without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.policy.findings import Finding, label
from tests.policy.objects import containers, of_kind, pod_labels, pod_spec, selects, workloads
from tests.support.graph import Graph
from tests.support.manifests import Manifest

BOTH = {"Ingress", "Egress"}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
TABLE = "Add a row to `ways` in components/traffic.py"
PROMETHEUS = {"namespace": "observability", "app": "prometheus"}


def namespaces_deny_by_default(graph: Graph) -> Iterator[Finding]:
    """Of ours, and of any other with pods of ours in it."""
    found = {(each.name, label(each.resource)) for each in of_kind(graph, "Namespace")}
    found |= {("default", "Namespace default")}
    for namespace, resource in sorted(found):
        if not any(
            each.namespace == namespace and not each.spec.get("podSelector") and _denies(each)
            for each in _policies(graph)
        ):
            yield Finding(
                resource=resource,
                found="no NetworkPolicy denies what the others do not allow",
                rule_says="in a namespace of ours nobody is reached, and nobody reaches, without a policy that says so",
                remedy="Name the namespace in NAMESPACES of components/network_policies.py",
            )


def pods_are_behind_a_policy(graph: Graph) -> Iterator[Finding]:
    """Of its own: the one of the namespace would leave it alone with everybody else's pods, and there is none in kube-system."""
    for workload in _in_pod_network(graph):
        if not any(each.spec.get("podSelector") and _denies(each) for each in _of(graph, workload)):
            yield Finding(
                resource=label(workload.resource),
                found="no NetworkPolicy selects its pods for both directions",
                rule_says="each workload in the pod network has a policy of its own",
                remedy="Name it in `workloads` of components/traffic.py",
            )


def services_reach_their_pods(graph: Graph) -> Iterator[Finding]:
    for service in of_kind(graph, "Service"):
        for workload in _in_pod_network(graph):
            # A member's Service selects by the name that its controller will give the pod.
            selector = {k: v for k, v in (service.spec.get("selector") or {}).items() if "pod-name" not in k}
            if service.namespace != workload.namespace or not selector.items() <= pod_labels(workload).items():
                continue
            for port in service.spec.get("ports", ()):
                number = _number(workload, port.get("targetPort", port["port"]))
                if number is not None and not _opened(graph, workload, number):
                    yield _closed(workload, number, f"Service {service.namespace}/{service.name} leads to it")


def what_is_scraped_lets_prometheus_in(graph: Graph) -> Iterator[Finding]:
    for job in _scraped(graph):
        for workload in _in_pod_network(graph):
            if workload.namespace != job["namespace"] or pod_labels(workload).get("app") != job["app"]:
                continue
            number = _number(workload, job["port"])
            if number is not None and not _opened(graph, workload, number, PROMETHEUS):
                yield _closed(workload, number, "Prometheus reads it")


def ports_are_for_somebody(graph: Graph) -> Iterator[Finding]:
    """A policy lets somebody in, or the node's own kubelet asks there, which no policy holds back."""
    for workload in _in_pod_network(graph):
        for container in containers(workload):
            asked = {_port_of(container[probe]) for probe in PROBES if probe in container}
            for port in container.get("ports", ()):
                number = int(port["containerPort"])
                if not {port.get("name"), number} & asked and not _opened(graph, workload, number):
                    yield _closed(workload, number, "no probe asks there")


def both_ends_of_a_way_are_open(graph: Graph) -> Iterator[Finding]:
    """What a workload may reach among ours lets it in, and the other way round."""
    known = {_end(each): each for each in _in_pod_network(graph)}
    opened = {(_end(w), end, port) for w in known.values() for end, port in _pairs(graph, w, "egress", "to")}
    let_in = {(end, _end(w), port) for w in known.values() for end, port in _pairs(graph, w, "ingress", "from")}
    for source, target, port in sorted(opened ^ let_in):
        if source in known and target in known:
            side, other = (target, source) if (source, target, port) in opened else (source, target)
            yield Finding(
                resource=label(known[side].resource),
                part=f"{port}",
                found=f"the way from {source[1]} to {target[1]} is open at the end of {other[1]} only",
                rule_says="a way is open at both ends or not at all",
                remedy=TABLE,
            )


def _policies(graph: Graph) -> list[Manifest]:
    return of_kind(graph, "NetworkPolicy")


def _denies(policy: Manifest) -> bool:
    return set(policy.spec.get("policyTypes") or ()) == BOTH


def _in_pod_network(graph: Graph) -> list[Manifest]:
    return [each for each in workloads(graph) if not pod_spec(each).get("hostNetwork")]


def _of(graph: Graph, workload: Manifest) -> list[Manifest]:
    return [
        each
        for each in _policies(graph)
        if each.namespace == workload.namespace
        and (not each.spec.get("podSelector") or selects(each.spec["podSelector"], pod_labels(workload)))
    ]


def _opened(graph: Graph, workload: Manifest, number: int, by: Mapping[str, str] | None = None) -> bool:
    """Whether somebody is let in at a port; `by`: these pods."""
    for policy in _of(graph, workload):
        for rule in policy.spec.get("ingress") or ():
            numbers = [port.get("port") for port in rule.get("ports") or ()]
            if (not numbers or number in numbers) and (by is None or _lets_in(rule, by)):
                return True
    return False


def _lets_in(rule: Mapping[str, Any], by: Mapping[str, str]) -> bool:
    peers = rule.get("from")
    return not peers or any(_peer(each) == (by["namespace"], by["app"]) for each in peers)


def _peer(peer: Mapping[str, Any]) -> tuple[str, str]:
    namespace = (peer.get("namespaceSelector") or {}).get("matchLabels") or {}
    pods = (peer.get("podSelector") or {}).get("matchLabels") or {}
    return str(namespace.get("kubernetes.io/metadata.name", "")), str(pods.get("app", ""))


def _end(workload: Manifest) -> tuple[str, str]:
    return workload.namespace, pod_labels(workload).get("app", "")


def _pairs(graph: Graph, workload: Manifest, direction: str, field: str) -> Iterator[tuple[tuple[str, str], int]]:
    for policy in _of(graph, workload):
        for rule in policy.spec.get(direction) or ():
            for peer in rule.get(field) or ():
                for port in rule.get("ports") or ():
                    yield _peer(peer), int(port["port"])


def _number(workload: Manifest, port: Any) -> int | None:
    """Of a port by its name, if the pods have one of that name."""
    if not isinstance(port, str):
        return int(port)
    named = {
        each.get("name"): int(each["containerPort"])
        for container in containers(workload)
        for each in container.get("ports", ())
    }
    return named.get(port)


def _port_of(probe: Mapping[str, Any]) -> Any:
    handler = probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}
    port = handler.get("port")
    return int(port) if isinstance(port, float) else port


def _scraped(graph: Graph) -> Iterator[dict[str, str]]:
    """Targets in Prometheus' own configuration, by namespace, label and name of the port."""
    for config in of_kind(graph, "ConfigMap"):
        for job in yaml.safe_load(config.body.get("data", {}).get("prometheus.yml", "{}")).get("scrape_configs", ()):
            for found in job.get("kubernetes_sd_configs", ()):
                if found["role"] != "pod":
                    continue  # nodes, which no policy is in front of
                yield {
                    "namespace": found["namespaces"]["names"][0],
                    "app": found["selectors"][0]["label"].partition("=")[2],
                    "port": job["relabel_configs"][0]["regex"],
                }


def _closed(workload: Manifest, number: int, why: str) -> Finding:
    return Finding(
        resource=label(workload.resource),
        part=str(number),
        found=f"no NetworkPolicy opens port {number}; {why}",
        rule_says="what is used of a pod is open to whoever uses it",
        remedy=TABLE,
    )


RULES = (
    namespaces_deny_by_default,
    pods_are_behind_a_policy,
    services_reach_their_pods,
    what_is_scraped_lets_prometheus_in,
    ports_are_for_somebody,
    both_ends_of_a_way_are_open,
)
