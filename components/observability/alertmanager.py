"""Alertmanager: tells who is to be told of alerts, once, though two of it hear of each (docs/adr/0027).

Both are told every alert and agree by gossip who sends. Silences and what has been sent are on both; they are lost when both
pods are gone at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet, StatefulSetSpecArgs, StatefulSetUpdateStrategyArgs
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    ObjectFieldSelectorArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Secret,
    SecretVolumeSourceArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget, PodDisruptionBudgetSpecArgs

from components.alert_secrets import AlertSecrets
from components.images import image
from components.naming import MODEL_CACHE_USER, labels, selector, token
from components.observability.alertmanager_config import (
    CONFIG,
    FILES,
    HEARTBEAT_URL,
    RELAY_PORT,
    SMTP_PASSWORD,
    alertmanager_yaml,
    sign_file,
    url_file,
)
from components.pods import (
    apart,
    burstable,
    container_security,
    http_probe,
    leave_dead_nodes,
    pod_security,
    ports,
    scratch,
)
from components.settings import Images
from components.settings.alerting import Alerting

NAME, MEMBERS = "alertmanager", "alertmanager-members"
PORT, CLUSTER_PORT = 9093, 9094
DATA, RELAY_FILES = "/alertmanager", "/etc/alert-relay"


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertmanagerArgs:
    alerting: Alerting
    secrets: AlertSecrets
    replicas: int
    images: Images
    namespace: pulumi.Input[str]
    namespace_name: str


class Alertmanager(pulumi.ComponentResource):
    """StatefulSet `alertmanager`, its Services and budget."""

    def __init__(self, name: str, args: AlertmanagerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "Alertmanager"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        named = labels(NAME, "alerting")
        metadata = ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=named)
        anonymous = ObjectMetaArgs(namespace=args.namespace, labels=named)
        # Named by the engine, so that changed content is a new name and the pods are replaced, one after the other.
        files = Secret(f"{name}-files", metadata=anonymous, string_data=own_files(args), opts=here).metadata.name
        relay = None
        if args.alerting.relayed:
            kept = Secret(f"{name}-relay", metadata=anonymous, string_data=relay_files(args), opts=here)
            relay = kept.metadata.name
        Service(
            MEMBERS,
            metadata=ObjectMetaArgs(name=MEMBERS, namespace=args.namespace, labels=named),
            spec=ServiceSpecArgs(
                cluster_ip="None",
                publish_not_ready_addresses=True,  # they find each other before they are ready
                selector=selector(NAME),
                ports=[ServicePortArgs(name="http", port=PORT, target_port="http")],
            ),
            opts=here,
        )
        StatefulSet(
            name,
            metadata=metadata,
            spec=StatefulSetSpecArgs(
                replicas=args.replicas,
                service_name=MEMBERS,
                pod_management_policy="Parallel",
                revision_history_limit=3,
                min_ready_seconds=15,  # in which the new one takes over what the other one knows
                update_strategy=StatefulSetUpdateStrategyArgs(type="RollingUpdate"),
                selector=LabelSelectorArgs(match_labels=selector(NAME)),
                template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=named), spec=pod_spec(args, files, relay)),
            ),
            opts=here,
        )
        Service(
            name,
            metadata=metadata,
            spec=ServiceSpecArgs(
                selector=selector(NAME), ports=[ServicePortArgs(name="http", port=PORT, target_port="http")]
            ),
            opts=here,
        )
        if args.replicas > 1:
            PodDisruptionBudget(
                name,
                metadata=metadata,
                spec=PodDisruptionBudgetSpecArgs(
                    max_unavailable=1, selector=LabelSelectorArgs(match_labels=selector(NAME))
                ),
                opts=here,
            )
        self.register_outputs({})


def own_files(args: AlertmanagerArgs) -> Mapping[str, pulumi.Output[str]]:
    """What Alertmanager reads itself; what robots' URLs and keys are is for the relay only."""
    alerting, secrets = args.alerting, args.secrets
    files = {CONFIG: pulumi.Output.secret(alertmanager_yaml(alerting))}
    direct = [name for name in alerting.with_url if name not in alerting.relayed]
    files |= {url_file(name): _of(secrets.urls, name) for name in direct}
    if secrets.smtp_password is not None and alerting.with_login:
        files[SMTP_PASSWORD] = pulumi.Output.secret(secrets.smtp_password)
    if secrets.heartbeat_url is not None and alerting.heartbeat:
        files[HEARTBEAT_URL] = pulumi.Output.secret(secrets.heartbeat_url)
    return files


def relay_files(args: AlertmanagerArgs) -> Mapping[str, pulumi.Output[str]]:
    """An empty key: nothing is signed."""
    names, secrets = args.alerting.relayed, args.secrets
    return {url_file(name): _of(secrets.urls, name) for name in names} | {
        sign_file(name): _of(secrets.signing, name) for name in names
    }


def _of(values: pulumi.Output[dict[str, str]] | None, name: str) -> pulumi.Output[str]:
    if values is None:
        return pulumi.Output.secret("")
    return pulumi.Output.secret(values.apply(lambda found: found.get(name, "")))


def pod_spec(args: AlertmanagerArgs, files: pulumi.Input[str], relay: pulumi.Input[str] | None) -> PodSpecArgs:
    data, data_mount = scratch("data", DATA, "64Mi")
    volumes = [data, secret_volume("files", files)]
    containers = [
        ContainerArgs(
            name="alertmanager",
            image=image("alertmanager", args.images),
            args=arguments(args.replicas, args.namespace_name),
            env=[
                EnvVarArgs(
                    name="POD_IP",
                    value_from=EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path="status.podIP")),
                )
            ],
            ports=ports(http=PORT),
            readiness_probe=http_probe("/-/ready", "http", period=5, timeout=5, failures=3),
            liveness_probe=http_probe("/-/healthy", "http", period=15, timeout=10, failures=4),
            resources=burstable("20m", "128Mi", cpu_limit="500m", disk="128Mi"),
            security_context=container_security(),
            volume_mounts=[data_mount, VolumeMountArgs(name="files", mount_path=FILES, read_only=True)],
        )
    ]
    if relay is not None:
        volumes.append(secret_volume("relay", relay))
        containers.append(relay_container(args))
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-cluster-critical",
        tolerations=leave_dead_nodes(),
        affinity=apart(selector(NAME)),
        security_context=pod_security(MODEL_CACHE_USER),
        termination_grace_period_seconds=30,
        containers=containers,
        volumes=volumes,
    )


def arguments(replicas: int, namespace: str) -> list[str]:
    """One alone has nobody to talk to, and does not wait for anybody."""
    members = [f"{NAME}-{ordinal}.{MEMBERS}.{namespace}.svc:{CLUSTER_PORT}" for ordinal in range(replicas)]
    cluster = [
        f"--cluster.listen-address=0.0.0.0:{CLUSTER_PORT}",
        f"--cluster.advertise-address=$(POD_IP):{CLUSTER_PORT}",
        *(f"--cluster.peer={member}" for member in members),
    ]
    return [
        f"--config.file={FILES}/{CONFIG}",
        f"--storage.path={DATA}",
        f"--web.listen-address=:{PORT}",
        "--enable-feature=receiver-name-in-metrics",
        *(cluster if replicas > 1 else ["--cluster.listen-address="]),
    ]


def relay_container(args: AlertmanagerArgs) -> ContainerArgs:
    told = [f"--receiver={name}={each.kind}" for name, each in args.alerting.relayed.items()]
    return ContainerArgs(
        name="relay",
        image=image("model-cache", args.images),
        command=["python", "-m", "alert_relay"],
        args=[f"--port={RELAY_PORT}", f"--secrets={RELAY_FILES}", *told],
        ports=ports(relay=RELAY_PORT),
        readiness_probe=http_probe("/healthz", "relay", period=10, timeout=5, failures=3),
        liveness_probe=http_probe("/healthz", "relay", period=30, timeout=10, failures=4),
        resources=burstable("10m", "64Mi", cpu_limit="250m"),
        security_context=container_security(),
        volume_mounts=[VolumeMountArgs(name="relay", mount_path=RELAY_FILES, read_only=True)],
    )


def secret_volume(name: str, secret: pulumi.Input[str]) -> VolumeArgs:
    return VolumeArgs(name=name, secret=SecretVolumeSourceArgs(secret_name=secret, default_mode=0o440))
