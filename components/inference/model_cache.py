"""A verified copy of the pinned model revision on every worker, and the volumes through which pods see it.

The agents (images/model-cache) read the source in user space and share what they have, so that a dead source stops neither a
kubelet nor a pod. Pods mount the copy by a claim, read-only: no folder of the host is named in any pod.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

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
    HostPathVolumeSourceArgs,
    ObjectFieldSelectorArgs,
    ObjectReferenceArgs,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpecArgs,
    PersistentVolumeClaimVolumeSourceArgs,
    PersistentVolumeSpecArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Secret,
    SecretVolumeSourceArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
    VolumeResourceRequirementsArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import MODEL_CACHE_USER, labels, selector, token
from components.pods import burstable, container_security, http_probe, pod_security, ports
from components.settings import Images, ModelStore
from host.resources import Connection, DaemonsReady

APP = "model-cache"
NAMESPACE = "default"
AGENT_PORT, HOLD_PORT = 7870, 7871
CACHE, SOURCE, CREDENTIAL = "/cache", "/source", "/run/secrets/model-store"
HUB = "https://huggingface.co"
# The volume is a folder of the node, so its size is nominal; an agent counts the disk's own room.
NOMINAL_SIZE = "1Ti"
ALL_AT_ONCE = 10_000
FILL_SECONDS = 3600  # 9 GB over a shared line of 100 Mbit/s take a quarter of it
HOLD_LOOK_SECONDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCacheArgs:
    store: ModelStore
    model: str  # name with its organisation, as the hub has it
    nfs_server: str | None  # for a store of kind `nfs`
    images: Images
    credential: pulumi.Output[str] | None  # secret
    control_planes: tuple[Connection, ...]  # asked how far the copies are
    dns_domain: str = "cluster.local"


class ModelCache(pulumi.ComponentResource):
    """DaemonSet `model-cache` and the claim `qwen3-vl-models-...` of pods; ready once every live worker's copy is whole."""

    claim: pulumi.Output[str]

    def __init__(self, name: str, args: ModelCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("inference", "ModelCache"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        path = args.store.cache_path
        self.claim = node_folder(f"{name}-models", "qwen3-vl-models", path, "ReadOnlyMany", here)
        claims = {"cache": node_folder(f"{name}-cache", "qwen3-vl-model-cache", path, "ReadWriteMany", here)}
        if args.store.kind == "folder":
            source = node_folder(f"{name}-source", "qwen3-vl-model-source", args.store.path, "ReadOnlyMany", here)
            claims["source"] = source
        secret = None
        if args.credential is not None:
            secret = Secret(
                f"{name}-credential",
                metadata=ObjectMetaArgs(namespace=NAMESPACE, labels=labels(APP, "inference")),
                string_data={"credential": args.credential},
                opts=here,
            )
        service = Service(
            f"{name}-service",
            metadata=ObjectMetaArgs(name=APP, namespace=NAMESPACE, labels=labels(APP, "inference")),
            spec=ServiceSpecArgs(
                cluster_ip="None",
                publish_not_ready_addresses=True,  # agents that are not complete yet are who the others look for
                selector=selector(APP),
                ports=[ServicePortArgs(name="http", port=AGENT_PORT, target_port="http")],
            ),
            opts=here,
        )
        agents = DaemonSet(
            name,
            metadata=ObjectMetaArgs(
                name=APP,
                namespace=NAMESPACE,
                labels=labels(APP, "inference"),
                annotations={"pulumi.com/skipAwait": "true"},  # the wait below passes over dead workers
            ),
            spec=DaemonSetSpecArgs(
                revision_history_limit=3,
                selector=LabelSelectorArgs(match_labels=selector(APP)),
                # All at once: agents that fill together share what they read, and none of them serves users.
                # A number above any cluster's: the dead node's pod counts as one that is away, and a percentage of the
                # living nodes would leave no room for the last of them.
                update_strategy=DaemonSetUpdateStrategyArgs(
                    type="RollingUpdate", rolling_update=RollingUpdateDaemonSetArgs(max_unavailable=ALL_AT_ONCE)
                ),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=labels(APP, "inference")),
                    spec=pod_spec(args, claims, secret.metadata.name if secret else None),
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[service]),
        )
        DaemonsReady(
            f"{name}-filled",
            namespace=NAMESPACE,
            daemon_set=APP,
            generation=agents.metadata.generation,
            peers=args.control_planes,
            deadline_seconds=FILL_SECONDS,
            remedy=f"`kubectl logs -n {NAMESPACE} -l app={APP} --prefix` says what each worker's copy waits for",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[agents]),
        )
        self.register_outputs({"claim": self.claim})


def node_folder(name: str, called: str, path: str, mode: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The name of a claim on a folder that each node has by itself.

    Volumes cannot be changed, so the path is part of the name: another path is another volume.
    """
    full = f"{called}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    volume = PersistentVolume(
        f"{name}-volume",
        metadata=ObjectMetaArgs(name=full, labels=labels(APP, "inference")),
        spec=PersistentVolumeSpecArgs(
            access_modes=[mode],
            capacity={"storage": NOMINAL_SIZE},
            host_path=HostPathVolumeSourceArgs(path=path, type="Directory"),
            persistent_volume_reclaim_policy="Retain",
            storage_class_name="",
            claim_ref=ObjectReferenceArgs(
                api_version="v1", kind="PersistentVolumeClaim", namespace=NAMESPACE, name=full
            ),
        ),
        opts=opts,
    )
    claim = PersistentVolumeClaim(
        f"{name}-claim",
        metadata=ObjectMetaArgs(name=full, namespace=NAMESPACE, labels=labels(APP, "inference")),
        spec=PersistentVolumeClaimSpecArgs(
            access_modes=[mode],
            resources=VolumeResourceRequirementsArgs(requests={"storage": NOMINAL_SIZE}),
            storage_class_name="",
            volume_name=volume.metadata.name,
        ),
        opts=opts,
    )
    return claim.metadata.name


def pod_spec(
    args: ModelCacheArgs, claims: dict[str, pulumi.Output[str]], secret: pulumi.Input[str] | None
) -> PodSpecArgs:
    mounts = [VolumeMountArgs(name="cache", mount_path=CACHE)]
    if "source" in claims:
        mounts.append(VolumeMountArgs(name="source", mount_path=SOURCE, read_only=True))
    volumes = [claim_volume(name, claim, read_only=name != "cache") for name, claim in claims.items()]
    if secret is not None:
        mounts.append(VolumeMountArgs(name="credential", mount_path=CREDENTIAL, read_only=True))
        volumes.append(
            VolumeArgs(name="credential", secret=SecretVolumeSourceArgs(secret_name=secret, default_mode=0o440))
        )
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        priority_class_name="system-node-critical",  # no engine starts without it
        tolerations=[TolerationArgs(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        security_context=pod_security(MODEL_CACHE_USER),
        termination_grace_period_seconds=10,
        containers=[
            ContainerArgs(
                name="agent",
                image=image("model-cache", args.images),
                args=agent_arguments(args),
                env=[
                    EnvVarArgs(
                        name="NODE_NAME",
                        value_from=EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path="spec.nodeName")),
                    )
                ],
                ports=ports(http=AGENT_PORT),
                readiness_probe=http_probe("/ready", "http", period=5, timeout=5, failures=3),
                liveness_probe=http_probe("/healthz", "http", period=30, timeout=10, failures=4),
                # The page cache of what it writes counts here too; the kernel takes that back first.
                resources=burstable("50m", "256Mi", cpu_limit="2"),
                security_context=container_security(),
                volume_mounts=mounts,
            )
        ],
        volumes=volumes,
    )


def agent_arguments(args: ModelCacheArgs) -> list[str]:
    store = args.store
    return [
        "agent",
        *pinned(store, args.model),
        f"--source={source_url(store, args.nfs_server)}",
        "--node=$(NODE_NAME)",
        # With a dot at its end the name is looked up as it is, in no search domain first.
        f"--peers={APP}.{NAMESPACE}.svc.{args.dns_domain}.:{AGENT_PORT}",
        f"--reserve-percent={store.reserve_percent:g}",
        *([f"--credential-file={CREDENTIAL}/credential"] if args.credential is not None else []),
    ]


def pinned(store: ModelStore, model: str) -> list[str]:
    """What the agent keeps and the pods wait for: the same words to both."""
    digest = [f"--manifest-sha256={store.manifest_sha256}"] if store.manifest_sha256 else []
    return [f"--model={model}", f"--revision={store.revision}", *digest, f"--cache={CACHE}"]


def source_url(store: ModelStore, nfs_server: str | None) -> str:
    """The source in one word. Raises pulumi.RunError for an export without a server."""
    match store.kind:
        case "folder":
            return f"folder://{SOURCE}"
        case "huggingface":
            return f"hub+{store.endpoint or HUB}"
        case "s3":
            return f"s3+{store.endpoint}/{store.bucket}?region={store.region}"
    if not nfs_server:
        raise pulumi.RunError(
            "qwen3-vl:modelStore.server: absent, and there is no storage node; an export needs a server."
            " Name one, add a storage node, or choose another kind"
        )
    return f"nfs://{nfs_server}{store.path}"


def claim_volume(name: str, claim: pulumi.Input[str], *, read_only: bool) -> VolumeArgs:
    return VolumeArgs(
        name=name,
        persistent_volume_claim=PersistentVolumeClaimVolumeSourceArgs(claim_name=claim, read_only=read_only),
    )


def model_holder(store: ModelStore, model: str, images: Images, volume: str) -> ContainerArgs:
    """First of a replica's sidecars: lets the engine start once the revision is whole on this node, and keeps it there.

    It needs the node's disk only, so a pod starts from the copy whatever else is dead.
    """
    return ContainerArgs(
        name="model",
        restart_policy="Always",
        image=image("model-cache", images),
        args=["hold", *pinned(store, model), f"--port={HOLD_PORT}"],
        ports=ports(model=HOLD_PORT),
        startup_probe=http_probe(
            "/ready", "model", period=HOLD_LOOK_SECONDS, timeout=5, failures=FILL_SECONDS // HOLD_LOOK_SECONDS
        ),
        resources=burstable("10m", "64Mi", cpu_limit="250m"),
        security_context=container_security(),
        volume_mounts=[VolumeMountArgs(name=volume, mount_path=CACHE, read_only=True)],
    )


def model_mount(store: ModelStore, volume: str, path: str) -> VolumeMountArgs:
    """The pinned revision alone: a pod never sees another one, also while the node is being given the next."""
    return VolumeMountArgs(name=volume, mount_path=path, sub_path=f"revisions/{store.revision}", read_only=True)
