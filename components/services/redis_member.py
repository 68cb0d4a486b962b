"""The pod of one member of the Redis group: Redis and its Sentinel, on a control plane of its own."""

from __future__ import annotations

from collections.abc import Iterable

import pulumi
from pulumi_kubernetes.core.v1 import (
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    ExecActionArgs,
    LifecycleArgs,
    LifecycleHandlerArgs,
    PodSpecArgs,
    ProbeArgs,
    ProjectedVolumeSourceArgs,
    SecretProjectionArgs,
    TCPSocketActionArgs,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
    VolumeProjectionArgs,
)

from components.images import image
from components.naming import selector
from components.pods import apart, burstable, container_security, pod_security, ports, scratch
from components.services.redis_files import DATA, FILES, PORT, SENTINEL_PORT, STATE
from components.services.redis_single import USER, read_only_mounts, resources, volume_size
from components.settings import Images

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def member_pod(
    app: str,
    *,
    memory_mib: int,
    images: Images,
    config: pulumi.Input[str],
    secrets: Iterable[pulumi.Input[str]],
) -> PodSpecArgs:
    data, data_mount = scratch("data", DATA, volume_size(memory_mib))
    state, state_mount = scratch("state", STATE, "16Mi")
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-cluster-critical",
        node_selector={CONTROL_PLANE: ""},
        tolerations=stay(),
        affinity=apart(selector(app)),
        security_context=pod_security(USER),
        termination_grace_period_seconds=40,  # redis_leave.sh, then Redis' own 10 s for a replica that lags
        containers=[
            ContainerArgs(
                name="redis",
                image=image("redis", images),
                command=[f"{FILES}/redis_start.sh"],
                ports=ports(redis=PORT),
                lifecycle=LifecycleArgs(pre_stop=LifecycleHandlerArgs(exec_=said("redis_leave.sh"))),
                # A new member may have to wait for a fail-over, and copies everything.
                startup_probe=probe("alive", period=2, failures=300),
                liveness_probe=probe("alive", period=10, failures=6),
                readiness_probe=probe("ready", period=5, failures=3),
                resources=resources(memory_mib),
                security_context=container_security(),
                volume_mounts=[data_mount, *read_only_mounts()],
            ),
            ContainerArgs(
                name="sentinel",
                image=image("redis", images),
                command=[f"{FILES}/redis_sentinel.sh"],
                ports=ports(sentinel=SENTINEL_PORT),
                startup_probe=sentinel_probe(period=2, failures=300),
                # By its use of CPU, so that one look is at a time that says something.
                liveness_probe=ProbeArgs(
                    exec_=said("redis_sentinel_probe.sh"), period_seconds=30, timeout_seconds=10, failure_threshold=3
                ),
                readiness_probe=sentinel_probe(period=5, failures=3),
                resources=burstable("20m", "64Mi", cpu_limit="250m"),
                security_context=container_security(),
                volume_mounts=[
                    state_mount,
                    VolumeMountArgs(name="data", mount_path=DATA, read_only=True),  # with whom Redis has begun
                    *read_only_mounts(),
                ],
            ),
        ],
        volumes=[
            data,
            state,
            VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config, default_mode=0o555)),
            VolumeArgs(
                name="access",
                projected=ProjectedVolumeSourceArgs(
                    default_mode=0o440,
                    sources=[VolumeProjectionArgs(secret=SecretProjectionArgs(name=name)) for name in secrets],
                ),
            ),
        ],
    )


def stay() -> list[TolerationArgs]:
    """On control planes, also on one that is away: its pod would be thrown away, with its data, when it comes back."""
    return [
        TolerationArgs(key=CONTROL_PLANE, operator="Exists", effect="NoSchedule"),
        *(
            TolerationArgs(key=f"node.kubernetes.io/{state}", operator="Exists", effect="NoExecute")
            for state in ("not-ready", "unreachable")
        ),
    ]


def said(*words: str) -> ExecActionArgs:
    return ExecActionArgs(command=[f"{FILES}/{words[0]}", *words[1:]])


def probe(what: str, *, period: int, failures: int) -> ProbeArgs:
    return ProbeArgs(
        exec_=said("redis_probe.sh", what), period_seconds=period, timeout_seconds=5, failure_threshold=failures
    )


def sentinel_probe(*, period: int, failures: int) -> ProbeArgs:
    return ProbeArgs(
        tcp_socket=TCPSocketActionArgs(port="sentinel"),
        period_seconds=period,
        timeout_seconds=5,
        failure_threshold=failures,
    )
