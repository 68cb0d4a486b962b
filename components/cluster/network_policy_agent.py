"""kube-router's firewall beside Flannel, which enforces no NetworkPolicy itself: packet filter rules of every node (ADR 0020).

After upstream's manifest (cloudnativelabs/kube-router, daemonset/kube-router-firewall-daemonset.yaml) without what its router and
its service proxy need. The rules stay in the kernel when the agent ends, so its restart opens and cuts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_kubernetes.apps.v1 import (
    DaemonSet,
    DaemonSetSpecArgs,
    DaemonSetUpdateStrategyArgs,
    RollingUpdateDaemonSetArgs,
)
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    ExecActionArgs,
    HostPathVolumeSourceArgs,
    HTTPGetActionArgs,
    LifecycleArgs,
    LifecycleHandlerArgs,
    ObjectFieldSelectorArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    ServiceAccount,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.rbac.v1 import PolicyRuleArgs

from components.naming import labels, selector, token
from components.pods import burstable, container_security, root_security
from components.rbac import Account, grant_in_cluster, rule
from host.resources import Connection, DaemonsReady

APP = "kube-router"
NAMESPACE = "kube-system"
HEALTH_PORT = 20244
LOCK = "/run/xtables.lock"
# Rules that somebody else removed are back after so long; what happens in the cluster reaches them at once.
SYNC_SECONDS = 60
# Time for rules without policies: where policies are switched off, they go first and the agent after them.
LAST_SYNC_SECONDS = 10
ALL_AT_ONCE = 10_000
DEADLINE_SECONDS = 600  # for a first pull from afar


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkPolicyAgentArgs:
    image: str
    service_subnet: IPv4Network
    control_planes: tuple[Connection, ...]  # asked on which nodes it runs


class NetworkPolicyAgent(pulumi.ComponentResource):
    """DaemonSet `kube-router`; ready once it enforces on every live node."""

    def __init__(self, name: str, args: NetworkPolicyAgentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("cluster", "NetworkPolicyAgent"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        account = Account(name=APP, namespace=NAMESPACE, labels=labels(APP, "network"))
        metadata = ObjectMetaArgs(name=APP, namespace=NAMESPACE, labels=account.labels)
        ServiceAccount(name, metadata=metadata, opts=here)
        grant_in_cluster(name, account, rules(), here)
        agents = DaemonSet(
            name,
            metadata=ObjectMetaArgs(
                name=APP,
                namespace=NAMESPACE,
                labels=account.labels,
                annotations={"pulumi.com/skipAwait": "true"},  # the wait below passes over dead nodes
            ),
            spec=daemon_set_spec(args),
            opts=here,
        )
        DaemonsReady(
            f"{name}-enforcing",
            namespace=NAMESPACE,
            daemon_set=APP,
            generation=agents.metadata.generation,
            peers=args.control_planes,
            deadline_seconds=DEADLINE_SECONDS,
            remedy=f"`kubectl logs -n {NAMESPACE} -l app={APP} --prefix` says why network policies are not enforced",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[agents]),
        )
        self.register_outputs({})


def rules() -> list[PolicyRuleArgs]:
    """It looks and changes nothing. Its other two parts use Services and endpoints, but it waits for them in any case."""
    return [
        rule("", "namespaces", "pods", "nodes", "services"),
        rule("discovery.k8s.io", "endpointslices"),
        rule("networking.k8s.io", "networkpolicies"),
    ]


def daemon_set_spec(args: NetworkPolicyAgentArgs) -> DaemonSetSpecArgs:
    """All at once: their rules stay meanwhile. A number above any cluster's: a dead node's pod counts as one that is away."""
    return DaemonSetSpecArgs(
        revision_history_limit=3,
        update_strategy=DaemonSetUpdateStrategyArgs(
            type="RollingUpdate", rolling_update=RollingUpdateDaemonSetArgs(max_unavailable=ALL_AT_ONCE)
        ),
        selector=LabelSelectorArgs(match_labels=selector(APP)),
        template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=labels(APP, "network")), spec=pod_spec(args)),
    )


def pod_spec(args: NetworkPolicyAgentArgs) -> PodSpecArgs:
    return PodSpecArgs(
        service_account_name=APP,
        enable_service_links=False,
        host_network=True,
        priority_class_name="system-node-critical",
        node_selector={"kubernetes.io/os": "linux"},
        tolerations=[TolerationArgs(operator="Exists")],
        security_context=root_security(),
        termination_grace_period_seconds=LAST_SYNC_SECONDS + 10,
        containers=[agent(args)],
        volumes=[
            VolumeArgs(name="xtables-lock", host_path=HostPathVolumeSourceArgs(path=LOCK, type="FileOrCreate")),
        ],
    )


def agent(args: NetworkPolicyAgentArgs) -> ContainerArgs:
    """Its root file system stays writable: at each start the image links to the kind of iptables that the node uses."""
    return ContainerArgs(
        name=APP,
        image=args.image,
        args=arguments(args.service_subnet),
        env=[
            EnvVarArgs(
                name="NODE_NAME",
                value_from=EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path="spec.nodeName")),
            )
        ],
        lifecycle=LifecycleArgs(
            pre_stop=LifecycleHandlerArgs(exec_=ExecActionArgs(command=["sleep", str(LAST_SYNC_SECONDS)]))
        ),
        readiness_probe=probe(period=5, failures=3),
        liveness_probe=probe(period=30, failures=6),
        resources=burstable("50m", "256Mi", cpu_limit="1", disk="64Mi"),
        security_context=container_security(writable_root=True, add=("NET_ADMIN", "NET_RAW")),
        volume_mounts=[VolumeMountArgs(name="xtables-lock", mount_path=LOCK)],
    )


def arguments(service_subnet: IPv4Network) -> list[str]:
    return [
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--service-cluster-ip-range={service_subnet}",
        f"--iptables-sync-period={SYNC_SECONDS}s",
        f"--health-port={HEALTH_PORT}",
    ]


def probe(*, period: int, failures: int) -> ProbeArgs:
    """Healthy while its loop turns."""
    return ProbeArgs(
        http_get=HTTPGetActionArgs(path="/healthz", port=HEALTH_PORT, host="127.0.0.1"),
        period_seconds=period,
        timeout_seconds=5,
        failure_threshold=failures,
    )
