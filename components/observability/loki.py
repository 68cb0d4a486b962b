"""Loki: keeps the logs that the collectors bring, and answers LogQL.

On disk there is one, and its logs go with its pod: what the nodes still have in their files is not read again. In a bucket they
outlive every node, and from three workers on there are three Lokis, of which one may be away; docs/adr/0030.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet, StatefulSetSpecArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Secret,
    SecretKeySelectorArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.images import image
from components.naming import labels, selector, token
from components.observability.loki_config import DATA, GOSSIP_PORT, GRPC_PORT, PORT, loki_yaml
from components.pods import (
    apart,
    budget,
    burstable,
    container_security,
    http_probe,
    leave_dead_nodes,
    pod_security,
    ports,
    scratch,
)
from components.settings import Images
from components.settings.logs import Logs

NAME, PEERS = "loki", "loki-peers"
USER = 10001  # of upstream's image
CONFIG = "/etc/loki"
SEVERAL = 3  # fewer cannot lose one and go on


@dataclass(frozen=True, kw_only=True, slots=True)
class LokiArgs:
    logs: Logs
    images: Images
    namespace: pulumi.Input[str]
    namespace_name: str
    workers: int
    dns_domain: str
    keys: tuple[pulumi.Output[str], pulumi.Output[str]] | None  # secret; of the bucket

    @property
    def replicas(self) -> int:
        return SEVERAL if self.logs.storage.kind == "s3" and self.workers >= SEVERAL else 1


class Loki(pulumi.ComponentResource):
    """StatefulSet and Service `loki`; `url` is where it answers inside the cluster."""

    url: str

    def __init__(self, name: str, args: LokiArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "Loki"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        named = labels(NAME, "logs")
        metadata = ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=named)
        # Named by the engine, so that changed content is a new name and the pods are replaced.
        unnamed = ObjectMetaArgs(namespace=args.namespace, labels=named)
        peers = f"{PEERS}.{args.namespace_name}.svc.{args.dns_domain}"
        text = loki_yaml(args.logs, replicas=args.replicas, peers=peers)
        config = ConfigMap(f"{name}-config", metadata=unnamed, data={"loki.yaml": text}, opts=here)
        secret = None
        if args.keys is not None and args.logs.storage.kind == "s3":
            data = dict(zip(("access-key", "secret-key"), args.keys, strict=True))
            secret = Secret(f"{name}-bucket", metadata=unnamed, string_data=data, opts=here).metadata.name
        StatefulSet(
            name,
            metadata=metadata,
            spec=StatefulSetSpecArgs(
                service_name=PEERS if args.replicas > 1 else NAME,
                replicas=args.replicas,
                revision_history_limit=3,
                pod_management_policy="Parallel",
                selector=LabelSelectorArgs(match_labels=selector(NAME)),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=named), spec=pod_spec(args, config.metadata.name, secret)
                ),
            ),
            opts=here,
        )
        if args.replicas > 1:
            Service(
                f"{name}-peers",
                metadata=ObjectMetaArgs(name=PEERS, namespace=args.namespace, labels=named),
                spec=ServiceSpecArgs(
                    cluster_ip="None",
                    publish_not_ready_addresses=True,  # they become ready by finding each other
                    selector=selector(NAME),
                    ports=[ServicePortArgs(name="gossip", port=GOSSIP_PORT, target_port=GOSSIP_PORT)],
                ),
                opts=here,
            )
            PodDisruptionBudget(name, metadata=metadata, spec=budget(selector(NAME)), opts=here)
        Service(
            name,
            metadata=metadata,
            spec=ServiceSpecArgs(
                selector=selector(NAME), ports=[ServicePortArgs(name="http", port=PORT, target_port="http")]
            ),
            opts=here,
        )
        self.url = f"http://{NAME}.{args.namespace_name}.svc.{args.dns_domain}:{PORT}"
        self.register_outputs({})


def pod_spec(args: LokiArgs, config: pulumi.Input[str], secret: pulumi.Input[str] | None) -> PodSpecArgs:
    room = f"{args.logs.disk_mib}Mi"
    data, data_mount = scratch("data", DATA, room)
    temporary, temporary_mount = scratch("temporary", "/tmp", "64Mi")  # noqa: S108  the pod's own
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        tolerations=leave_dead_nodes(),
        affinity=apart(selector(NAME)) if args.replicas > 1 else None,
        security_context=pod_security(USER),
        termination_grace_period_seconds=60,
        containers=[
            ContainerArgs(
                name=NAME,
                image=image("loki", args.images),
                args=[f"-config.file={CONFIG}/loki.yaml", "-config.expand-env=true", "-target=all"],
                env=[
                    EnvVarArgs(name="GOMEMLIMIT", value=f"{args.logs.memory_mib * 9 // 10}MiB"),
                    *(bucket_keys(secret) if secret is not None else []),
                ],
                ports=ports(http=PORT, grpc=GRPC_PORT, gossip=GOSSIP_PORT) if args.replicas > 1 else ports(http=PORT),
                # An ingester waits before it says that it is ready; what it has on disk is read first.
                startup_probe=http_probe("/ready", "http", period=3, timeout=5, failures=200),
                readiness_probe=http_probe("/ready", "http", period=10, timeout=5, failures=3),
                liveness_probe=http_probe("/services", "http", period=20, timeout=10, failures=6),
                resources=burstable(
                    "100m", f"{args.logs.memory_mib}Mi", cpu_limit="2", disk=f"{args.logs.disk_mib + 256}Mi"
                ),
                security_context=container_security(),
                volume_mounts=[
                    VolumeMountArgs(name="config", mount_path=CONFIG, read_only=True),
                    data_mount,
                    temporary_mount,
                ],
            )
        ],
        volumes=[
            VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=config)),
            data,
            temporary,
        ],
    )


def bucket_keys(secret: pulumi.Input[str]) -> list[EnvVarArgs]:
    return [
        EnvVarArgs(
            name=variable,
            value_from=EnvVarSourceArgs(secret_key_ref=SecretKeySelectorArgs(name=secret, key=key)),
        )
        for variable, key in (("S3_ACCESS_KEY", "access-key"), ("S3_SECRET_KEY", "secret-key"))
    ]
