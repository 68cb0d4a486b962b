"""NetworkPolicies out of the table in traffic.py: one for each workload with all that it may, and one that denies the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network

import pulumi
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import (
    IPBlockArgs,
    NetworkPolicy,
    NetworkPolicyEgressRuleArgs,
    NetworkPolicyIngressRuleArgs,
    NetworkPolicyPeerArgs,
    NetworkPolicyPortArgs,
    NetworkPolicySpecArgs,
)

from components import traffic
from components.naming import PART_OF, labels, token
from components.settings import Settings
from components.traffic import Addresses, Anybody, End, Namespace, Pods, Port

DENY = "default-deny"
BOTH = ["Ingress", "Egress"]
# Where every pod is denied what no policy allows it. In kube-system are pods of others too: there each policy is for one of ours.
NAMESPACES = (*(traffic.DEFAULT, traffic.GATEWAY, traffic.BALANCER, traffic.METRICS, traffic.AGENTS, traffic.FLANNEL),)

Policies = Mapping[str, Mapping[str, NetworkPolicySpecArgs]]  # specs by namespace and name


class NetworkPolicies(pulumi.ComponentResource):
    """The policies of some namespaces. Denying comes last and goes first, so that nothing is cut off in between."""

    def __init__(self, name: str, policies: Policies, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "NetworkPolicies"), name, None, opts)
        for namespace, specs in policies.items():
            allowing: list[pulumi.Resource] = []
            for called, spec in sorted(specs.items(), key=lambda each: each[0] == DENY):
                allowing.append(
                    NetworkPolicy(
                        f"{namespace}-{called}",
                        metadata=ObjectMetaArgs(name=called, namespace=namespace, labels=labels(PART_OF, "network")),
                        spec=spec,
                        opts=pulumi.ResourceOptions(parent=self, depends_on=allowing if called == DENY else None),
                    )
                )
        self.register_outputs({})


def network_policies(settings: Settings, *namespaces: str) -> Policies:
    """Specs by namespace and name, of those namespaces; none where the settings want none."""
    if not settings.kubernetes.network_policies:
        return {}
    found: dict[str, dict[str, NetworkPolicySpecArgs]] = {namespace: {} for namespace in namespaces}
    for pods in traffic.workloads(settings):
        if pods.namespace in found:
            found[pods.namespace][pods.app] = allow(pods, traffic.ways(settings))
    for namespace in namespaces:
        if namespace in NAMESPACES:
            found[namespace][DENY] = NetworkPolicySpecArgs(pod_selector=LabelSelectorArgs(), policy_types=BOTH)
    return found


def allow(pods: Pods, ways: Iterable[traffic.Way]) -> NetworkPolicySpecArgs:
    """What these pods may open and take; both directions are denied where there is nothing."""
    mine = tuple(ways)
    return NetworkPolicySpecArgs(
        pod_selector=LabelSelectorArgs(match_labels={pods.label: pods.app}),
        policy_types=BOTH,
        ingress=[
            NetworkPolicyIngressRuleArgs(from_=peers(way.source), ports=ports(way.ports))
            for way in mine
            if way.target == pods
        ],
        egress=[
            NetworkPolicyEgressRuleArgs(to=peers(way.target), ports=ports(way.ports))
            for way in mine
            if way.source == pods
        ],
    )


def peers(end: End) -> list[NetworkPolicyPeerArgs] | None:
    match end:
        case Anybody():
            return None
        case Pods(namespace, app, label):
            return [
                NetworkPolicyPeerArgs(
                    namespace_selector=of_namespace(namespace),
                    pod_selector=LabelSelectorArgs(match_labels={label: app}),
                )
            ]
        case Namespace(name):
            return [NetworkPolicyPeerArgs(namespace_selector=of_namespace(name))]
        case Addresses(blocks, excluded):
            return [NetworkPolicyPeerArgs(ip_block=ip_block(block, excluded)) for block in blocks]


def of_namespace(name: str) -> LabelSelectorArgs:
    """By the label that the API server itself gives every namespace."""
    return LabelSelectorArgs(match_labels={"kubernetes.io/metadata.name": name})


def ip_block(block: IPv4Network, excluded: Iterable[IPv4Network]) -> IPBlockArgs:
    return IPBlockArgs(cidr=str(block), except_=[str(each) for each in excluded] or None)


def ports(found: tuple[Port, ...]) -> list[NetworkPolicyPortArgs] | None:
    return [NetworkPolicyPortArgs(port=port.number, protocol=port.protocol) for port in found] or None
