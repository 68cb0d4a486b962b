"""One Redis. A Deployment: a StatefulSet's pod on a dead node is only replaced once somebody removes that node, and there is no
volume here that would be worth that wait."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.apps.v1 import DeploymentSpecArgs, DeploymentStrategyArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    ExecActionArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    ResourceRequirementsArgs,
    SecretVolumeSourceArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector
from components.pods import burstable, container_security, leave_dead_nodes, pod_security, ports, scratch
from components.services.redis_files import ACCESS, DATA, FILES, PASSWORD_KEY, PORT
from components.settings import Images

USER = 999  # `redis` in the official image
# From the file to redis-cli's standard input, quoted as it reads words: no command line and no environment holds the password,
# so neither does a list of the node's processes. The server itself has it nowhere.
LOG_IN = rf"""sed 's/["\\]/\\&/g; s/.*/AUTH "&"/' {ACCESS}/{PASSWORD_KEY}"""
PING = f'test "$({{ {LOG_IN}; echo; echo PING; }} | redis-cli -h 127.0.0.1 | tail -n 1)" = PONG'


def deployment_spec(
    app: str, *, memory_mib: int, images: Images, secret: pulumi.Input[str], config: pulumi.Input[str]
) -> DeploymentSpecArgs:
    return DeploymentSpecArgs(
        replicas=1,
        revision_history_limit=3,
        strategy=DeploymentStrategyArgs(type="Recreate"),  # two at once would each hold half of the sessions
        selector=LabelSelectorArgs(match_labels=selector(app)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(app, "session-store")),
            spec=pod_spec(memory_mib, images, secret=secret, config=config),
        ),
    )


def pod_spec(memory_mib: int, images: Images, *, secret: pulumi.Input[str], config: pulumi.Input[str]) -> PodSpecArgs:
    data, data_mount = scratch("data", DATA, volume_size(memory_mib))
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-cluster-critical",  # every replica of the web UI needs this one pod
        tolerations=leave_dead_nodes(),
        security_context=pod_security(USER),
        termination_grace_period_seconds=10,
        containers=[
            ContainerArgs(
                name="redis",
                image=image("redis", images),
                command=["redis-server", f"{FILES}/redis.conf"],
                ports=ports(redis=PORT),
                startup_probe=ping_probe(period=1, failures=60),
                liveness_probe=ping_probe(period=10, failures=6),
                readiness_probe=ping_probe(period=5, failures=3),
                resources=resources(memory_mib),
                security_context=container_security(),
                volume_mounts=[data_mount, *read_only_mounts()],
            )
        ],
        volumes=[
            data,
            VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config)),
            VolumeArgs(name="access", secret=SecretVolumeSourceArgs(secret_name=secret, default_mode=0o440)),
        ],
    )


def read_only_mounts() -> list[VolumeMountArgs]:
    return [
        VolumeMountArgs(name="config", mount_path=FILES, read_only=True),
        VolumeMountArgs(name="access", mount_path=ACCESS, read_only=True),
    ]


def volume_size(memory_mib: int) -> str:
    """The append-only file before and after it is rewritten, each as large as the data and what was written since."""
    return f"{4 * memory_mib + 64}Mi"


def resources(memory_mib: int) -> ResourceRequirementsArgs:
    """Twice `maxmemory`, because rewriting the append-only file copies the pages that change meanwhile."""
    return burstable("50m", f"{2 * memory_mib + 64}Mi", cpu_limit="1", disk=f"{4 * memory_mib + 128}Mi")


def ping_probe(*, period: int, failures: int) -> ProbeArgs:
    """PING as a client with the password: a server that loads its file or refuses log-ins is not ready."""
    return ProbeArgs(
        exec_=ExecActionArgs(command=["sh", "-c", PING]),
        period_seconds=period,
        timeout_seconds=5,
        failure_threshold=failures,
    )
