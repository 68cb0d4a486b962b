"""What every pod of this project has in common: hardening, sizes, and how soon it leaves a dead node.

Typed values in the form the Kubernetes API takes them; no resources.
"""

from __future__ import annotations

from collections.abc import Mapping

from pulumi_kubernetes.core.v1 import (
    AffinityArgs,
    CapabilitiesArgs,
    ContainerPortArgs,
    EmptyDirVolumeSourceArgs,
    HTTPGetActionArgs,
    PodAffinityTermArgs,
    PodAntiAffinityArgs,
    PodSecurityContextArgs,
    ProbeArgs,
    ResourceRequirementsArgs,
    SeccompProfileArgs,
    SecurityContextArgs,
    TolerationArgs,
    TopologySpreadConstraintArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudgetSpecArgs

# A dead node is noticed by its lease after 40 s; waiting 300 s more (Kubernetes' default) would leave a replica missing.
DEAD_NODE_SECONDS = 20


def leave_dead_nodes(seconds: int = DEAD_NODE_SECONDS) -> list[TolerationArgs]:
    """Tolerations that let a pod stay on a node that is not ready or unreachable for `seconds` only."""
    return [
        TolerationArgs(
            key=f"node.kubernetes.io/{state}", operator="Exists", effect="NoExecute", toleration_seconds=seconds
        )
        for state in ("not-ready", "unreachable")
    ]


def budget(selector: Mapping[str, str]) -> PodDisruptionBudgetSpecArgs:
    """One pod may be away at a time; one that does not work must not hold up a drain."""
    return PodDisruptionBudgetSpecArgs(
        max_unavailable=1,
        unhealthy_pod_eviction_policy="AlwaysAllow",
        selector=LabelSelectorArgs(match_labels=dict(selector)),
    )


def over_nodes(selector: Mapping[str, str], *, hard: bool = False) -> list[TopologySpreadConstraintArgs]:
    """Spreads the pods of one version over nodes; `hard` leaves a pod pending rather than doubling up on a node.

    Tainted nodes, dead ones among them, are not counted, so a hard rule does not hold back the replacement of a lost pod.
    """
    return [
        TopologySpreadConstraintArgs(
            max_skew=1,
            topology_key="kubernetes.io/hostname",
            when_unsatisfiable="DoNotSchedule" if hard else "ScheduleAnyway",
            label_selector=LabelSelectorArgs(match_labels=dict(selector)),
            match_label_keys=["pod-template-hash"],
            node_taints_policy="Honor",
        )
    ]


def restricted() -> dict[str, str]:
    """Namespace labels for Pod Security "restricted"."""
    return {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}


def privileged() -> dict[str, str]:
    """Namespace labels for Pod Security of the few that use the host's network, its files or raw sockets."""
    return {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}


def pod_security(user: int, group: int | None = None) -> PodSecurityContextArgs:
    """Pod Security "restricted": an unprivileged user whose group (default: `user`) also owns the pod's volumes."""
    group = user if group is None else group
    return PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=group,
        fs_group=group,
        fs_group_change_policy="OnRootMismatch",
        seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
    )


def root_security() -> PodSecurityContextArgs:
    """For the few that need root: the runtime's seccomp profile all the same."""
    return PodSecurityContextArgs(seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"))


def container_security(*, writable_root: bool = False, add: tuple[str, ...] = ()) -> SecurityContextArgs:
    """No privilege escalation, no capability but those in `add`, and a root file system that cannot be written."""
    return SecurityContextArgs(
        allow_privilege_escalation=False,
        read_only_root_filesystem=not writable_root,
        capabilities=CapabilitiesArgs(drop=["ALL"], add=list(add) or None),
    )


def guaranteed(
    cpu: str, memory: str, *, disk: str, extended: Mapping[str, str] | None = None
) -> ResourceRequirementsArgs:
    """Requests equal to limits, so the pod is the last one that memory or disk is taken from.

    `disk` counts logs, the writable layer and `scratch` volumes. A container that asks for none is the first to be evicted
    when a node's disk fills, whoever filled it.
    """
    amounts = {"cpu": cpu, "memory": memory, "ephemeral-storage": disk, **(extended or {})}
    return ResourceRequirementsArgs(requests=amounts, limits=amounts)


def burstable(cpu: str, memory: str, *, cpu_limit: str, disk: str = "100Mi") -> ResourceRequirementsArgs:
    """Memory and disk as in `guaranteed`; the processor share may grow to `cpu_limit` while the node has it to spare."""
    fixed = {"memory": memory, "ephemeral-storage": disk}
    return ResourceRequirementsArgs(requests={"cpu": cpu, **fixed}, limits={"cpu": cpu_limit, **fixed})


def ports(**numbers: int) -> list[ContainerPortArgs]:
    """Named TCP ports of a container."""
    return [ContainerPortArgs(name=name, container_port=number, protocol="TCP") for name, number in numbers.items()]


def http_probe(path: str, port: str, *, period: int, timeout: int, failures: int, tls: bool = False) -> ProbeArgs:
    """A GET every `period` seconds; `failures` in a row, each after `timeout` seconds at most, are a verdict."""
    return ProbeArgs(
        http_get=HTTPGetActionArgs(path=path, port=port, scheme="HTTPS" if tls else None),
        period_seconds=period,
        timeout_seconds=timeout,
        failure_threshold=failures,
    )


def scratch(name: str, path: str, size: str, medium: str | None = None) -> tuple[VolumeArgs, VolumeMountArgs]:
    """An empty, writable volume of at most `size` that lives as long as the pod, and its mount at `path`."""
    return (
        VolumeArgs(name=name, empty_dir=EmptyDirVolumeSourceArgs(size_limit=size, medium=medium)),
        VolumeMountArgs(name=name, mount_path=path),
    )


def apart(selector: Mapping[str, str]) -> AffinityArgs:
    """Never two of these pods on one node: a spare one stays pending until the lost node is back, and then fills it."""
    return AffinityArgs(
        pod_anti_affinity=PodAntiAffinityArgs(
            required_during_scheduling_ignored_during_execution=[
                PodAffinityTermArgs(
                    topology_key="kubernetes.io/hostname",
                    label_selector=LabelSelectorArgs(match_labels=dict(selector)),
                )
            ]
        )
    )
