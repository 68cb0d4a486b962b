"""Redis at the manual's address `redis.default.svc.cluster.local:6379`: chat histories with a time to live.

One instance, to be replaced by a Sentinel set behind the same address. Losing its node loses the histories, nothing else:
the web UI goes on answering, and a new instance starts elsewhere. That is why it is a Deployment: a StatefulSet's pod on a
dead node is only replaced once somebody removes that node, and there is no volume here that would be worth that wait.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs, DeploymentStrategyArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    ExecActionArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    Secret,
    SecretVolumeSourceArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import labels, selector, token
from components.pods import burstable, container_security, leave_dead_nodes, pod_security, ports, scratch
from components.settings import Images, Redis

NAME = "redis"
NAMESPACE = "default"
PORT = 6379
USER = 999  # `redis` in the official image
CONFIG, ACCESS = "/etc/redis", "/etc/redis-access"
PASSWORD_KEY = "password"  # noqa: S105  key in the Secret
# From the file to redis-cli's standard input, quoted as it reads words: no command line and no environment holds the password,
# so neither does a list of the node's processes. The server itself has it nowhere.
LOG_IN = rf"""sed 's/["\\]/\\&/g; s/.*/AUTH "&"/' {ACCESS}/{PASSWORD_KEY}"""
PING = f'test "$({{ {LOG_IN}; echo; echo PING; }} | redis-cli -h 127.0.0.1 | tail -n 1)" = PONG'


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionStoreArgs:
    redis: Redis
    images: Images
    password: pulumi.Output[str]  # secret
    dns_domain: str = "cluster.local"


class SessionStore(pulumi.ComponentResource):
    """Service `redis` and the Secret that its clients read the password from."""

    host: pulumi.Output[str]
    password_secret: pulumi.Output[str]  # name of a Secret with the key `password`; changes with the password

    def __init__(self, name: str, args: SessionStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "SessionStore"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        # Named by the engine, so that changed content is a new name and the pods that use it are replaced.
        metadata = ObjectMetaArgs(namespace=NAMESPACE, labels=labels(NAME, "session-store"))
        secret = Secret(
            f"{name}-password",
            metadata=metadata,
            string_data={PASSWORD_KEY: args.password, "users.acl": args.password.apply(access_list)},
            opts=here,
        )
        config = ConfigMap(
            f"{name}-config", metadata=metadata, data={"redis.conf": redis_conf(args.redis.memory_mib)}, opts=here
        )
        self.password_secret = secret.metadata.name
        Deployment(
            name,
            metadata=ObjectMetaArgs(name=NAME, namespace=NAMESPACE, labels=labels(NAME, "session-store")),
            spec=DeploymentSpecArgs(
                replicas=1,
                revision_history_limit=3,
                strategy=DeploymentStrategyArgs(type="Recreate"),  # two at once would each hold half of the sessions
                selector=LabelSelectorArgs(match_labels=selector(NAME)),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=labels(NAME, "session-store")),
                    spec=pod_spec(args, secret=secret.metadata.name, config=config.metadata.name),
                ),
            ),
            opts=here,
        )
        service = Service(
            f"{name}-service",
            metadata=ObjectMetaArgs(name=NAME, namespace=NAMESPACE, labels=labels(NAME, "session-store")),
            spec=ServiceSpecArgs(
                selector=selector(NAME), ports=[ServicePortArgs(name="redis", port=PORT, target_port="redis")]
            ),
            opts=here,
        )
        self.host = pulumi.Output.concat(service.metadata.name, ".", NAMESPACE, ".svc.", args.dns_domain)
        self.register_outputs({"host": self.host, "passwordSecret": self.password_secret})


def access_list(password: str) -> str:
    """Redis users: only the default one, by the digest of its password, so that no text needs quoting.

    Clients need no administration, so a stolen password cannot reconfigure, stop or empty the server.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user default on #{digest} ~* &* +@all -@admin -flushall -flushdb\n"


def redis_conf(memory_mib: int) -> str:
    """Evicts the chats not used for longest rather than refuse a new one; survives a restart of the container."""
    return "\n".join(
        [
            f"port {PORT}",
            f"aclfile {ACCESS}/users.acl",
            "dir /data",
            f"maxmemory {memory_mib}mb",
            "maxmemory-policy allkeys-lru",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "tcp-keepalive 60",
            "",
        ]
    )


def pod_spec(args: SessionStoreArgs, *, secret: pulumi.Input[str], config: pulumi.Input[str]) -> PodSpecArgs:
    """Twice `maxmemory`, because rewriting the append-only file copies the pages that change meanwhile."""
    memory_mib = args.redis.memory_mib
    data, data_mount = scratch("data", "/data", f"{4 * memory_mib + 64}Mi")
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
                image=image("redis", args.images),
                command=["redis-server", f"{CONFIG}/redis.conf"],
                ports=ports(redis=PORT),
                startup_probe=ping_probe(period=1, failures=60),
                liveness_probe=ping_probe(period=10, failures=6),
                readiness_probe=ping_probe(period=5, failures=3),
                resources=burstable("50m", f"{2 * memory_mib + 64}Mi", cpu_limit="1", disk=f"{4 * memory_mib + 128}Mi"),
                security_context=container_security(),
                volume_mounts=[
                    data_mount,
                    VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True),
                    VolumeMountArgs(name="access", mount_path=ACCESS, read_only=True),
                ],
            )
        ],
        volumes=[
            data,
            VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config)),
            VolumeArgs(name="access", secret=SecretVolumeSourceArgs(secret_name=secret, default_mode=0o440)),
        ],
    )


def ping_probe(*, period: int, failures: int) -> ProbeArgs:
    """PING as a client with the password: a server that loads its file or refuses log-ins is not ready."""
    return ProbeArgs(
        exec_=ExecActionArgs(command=["sh", "-c", PING]),
        period_seconds=period,
        timeout_seconds=5,
        failure_threshold=failures,
    )
