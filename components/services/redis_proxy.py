"""HAProxy on every node: what the Service `redis` leads to. So any Redis client will do, whether it knows Sentinel or not."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.apps.v1 import DaemonSetSpecArgs, DaemonSetUpdateStrategyArgs, RollingUpdateDaemonSetArgs
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    ExecActionArgs,
    LifecycleArgs,
    LifecycleHandlerArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    SecretVolumeSourceArgs,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector
from components.pods import burstable, container_security, http_probe, pod_security, ports
from components.services.redis_files import HEALTH_PORT, PORT
from components.settings import Images

PROXY = "redis-proxy"
USER = 99  # `haproxy` in the official image
CONFIG = "/etc/haproxy"


def proxy_spec(images: Images, config: pulumi.Input[str]) -> DaemonSetSpecArgs:
    """A new one is there before the old one goes. On all nodes at once: one on a dead node would hold up the rest."""
    return DaemonSetSpecArgs(
        revision_history_limit=3,
        update_strategy=DaemonSetUpdateStrategyArgs(
            type="RollingUpdate", rolling_update=RollingUpdateDaemonSetArgs(max_surge=10000, max_unavailable=0)
        ),
        selector=LabelSelectorArgs(match_labels=selector(PROXY)),
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(PROXY, "session-store")), spec=proxy_pod(images, config)
        ),
    )


def proxy_pod(images: Images, config: pulumi.Input[str]) -> PodSpecArgs:
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-node-critical",
        node_selector={"kubernetes.io/os": "linux"},
        tolerations=[TolerationArgs(operator="Exists")],
        security_context=pod_security(USER),
        termination_grace_period_seconds=10,
        containers=[
            ContainerArgs(
                name="haproxy",
                image=image("haproxy", images),
                command=["haproxy", "-db", "-f", f"{CONFIG}/haproxy.cfg"],
                ports=ports(redis=PORT, metrics=HEALTH_PORT),
                # Until no new connection is sent here any more.
                lifecycle=LifecycleArgs(pre_stop=LifecycleHandlerArgs(exec_=ExecActionArgs(command=["sleep", "3"]))),
                startup_probe=http_probe("/readyz", "metrics", period=1, timeout=2, failures=60),
                readiness_probe=http_probe("/readyz", "metrics", period=5, timeout=2, failures=3),
                liveness_probe=http_probe("/livez", "metrics", period=10, timeout=5, failures=6),
                resources=burstable("20m", "64Mi", cpu_limit="500m"),
                security_context=container_security(),
                volume_mounts=[VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True)],
            )
        ],
        volumes=[VolumeArgs(name="config", secret=SecretVolumeSourceArgs(secret_name=config, default_mode=0o440))],
    )
