"""The pod of one replica: the web UI, and the engine beside it as a sidecar.

The engine is a native sidecar (an init container that keeps running), for the order this gives: the web UI starts once the
engine has loaded the model, and when the pod leaves, the engine is stopped only after the web UI has finished its answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    EnvVarArgs,
    HostPathVolumeSourceArgs,
    KeyToPathArgs,
    NFSVolumeSourceArgs,
    PodDNSConfigArgs,
    PodDNSConfigOptionArgs,
    PodSpecArgs,
    SecretVolumeSourceArgs,
    TolerationArgs,
    VolumeArgs,
    VolumeMountArgs,
)

from components.images import image
from components.inference.access import FOLDER, Access, access_arguments
from components.inference.model import (
    ENGINE_PORT,
    MODELS,
    model_path,
    vllm_arguments,
    vllm_environment,
    webui_arguments,
)
from components.inference.rollout import DRAIN_DELAY_SECONDS, DRAIN_SECONDS, GRACE_SECONDS
from components.naming import selector
from components.pods import (
    burstable,
    container_security,
    guaranteed,
    http_probe,
    leave_dead_nodes,
    over_nodes,
    pod_security,
    ports,
    scratch,
)
from components.settings import Images, Inference, ModelStore

APP = "qwen3-vl-webui"
WEBUI_PORT = 7860
GPU = "nvidia.com/gpu"
USER = 2000  # `vllm` in newer vLLM images; older ones run as any user that has a name and a home
PASSWORD_FOLDER = "/run/secrets/redis"  # noqa: S105
PROBE_SECONDS = 5
HOME_GIB = 10  # compiled kernels
WEBUI_CPU_LIMIT = "2"  # a page load or an image to scale is a short burst; waiting for it is what a user would see


@dataclass(frozen=True, kw_only=True, slots=True)
class PodArgs:
    inference: Inference
    model_store: ModelStore
    nfs_server: str | None
    images: Images
    redis_host: pulumi.Input[str]
    redis_password_secret: pulumi.Input[str]  # name of a Secret with the key `password`
    access: Access
    access_secret: pulumi.Input[str] | None  # name of a Secret with the files of `access`; None if there are none
    webui_image: pulumi.Input[str]
    priority_class: pulumi.Input[str]


def pod_spec(args: PodArgs) -> PodSpecArgs:
    shm, shm_mount = scratch("shm", "/dev/shm", "1Gi", medium="Memory")  # noqa: S108  the engine's processes share tensors there
    home, home_mount = scratch("engine-home", vllm_environment()["HOME"], f"{HOME_GIB}Gi")
    tmp, tmp_mount = scratch("webui-tmp", "/tmp", "512Mi")  # noqa: S108  uploads; the web UI keeps them below 256 MiB
    models = VolumeMountArgs(name="model-storage", mount_path=MODELS, read_only=True)
    password = VolumeMountArgs(name="redis-password", mount_path=PASSWORD_FOLDER, read_only=True)
    return PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,  # a Service called `redis` would otherwise set REDIS_PORT to an address
        # Redis' full name at once, and the other DNS pod after a second when one is gone.
        dns_config=PodDNSConfigArgs(
            options=[
                PodDNSConfigOptionArgs(name="ndots", value="2"),
                PodDNSConfigOptionArgs(name="timeout", value="1"),
                PodDNSConfigOptionArgs(name="attempts", value="3"),
            ]
        ),
        priority_class_name=args.priority_class,
        tolerations=[*leave_dead_nodes(), TolerationArgs(key=GPU, operator="Exists", effect="NoSchedule")],
        topology_spread_constraints=over_nodes(selector(APP)),
        security_context=pod_security(USER),
        termination_grace_period_seconds=GRACE_SECONDS,
        init_containers=[engine_container(args, [models, shm_mount, home_mount])],
        containers=[webui_container(args, [models, password, tmp_mount, *access_mounts(args)])],
        volumes=[
            model_volume(args.model_store, args.nfs_server),
            password_volume(args.redis_password_secret),
            *access_volumes(args),
            shm,
            home,
            tmp,
        ],
    )


def engine_container(args: PodArgs, mounts: list[VolumeMountArgs]) -> ContainerArgs:
    """vLLM's OpenAI server. A busy engine answers /health late, so only a long silence counts against it.

    Its root file system stays writable: Triton, FlashInfer and the CUDA compiler write beside their own code.
    """
    return ContainerArgs(
        name="engine",
        restart_policy="Always",
        image=image(args.inference.engine, args.images),
        args=vllm_arguments(args.inference),
        env=[EnvVarArgs(name=name, value=value) for name, value in vllm_environment().items()],
        ports=ports(engine=ENGINE_PORT),
        startup_probe=http_probe(
            "/health",
            "engine",
            period=PROBE_SECONDS,
            timeout=PROBE_SECONDS,
            failures=-(-args.inference.startup_seconds // PROBE_SECONDS),
        ),
        readiness_probe=http_probe("/health", "engine", period=10, timeout=10, failures=3),
        liveness_probe=http_probe("/health", "engine", period=20, timeout=15, failures=6),
        resources=guaranteed(args.inference.cpu, args.inference.memory, disk=f"{HOME_GIB + 1}Gi", extended={GPU: "1"}),
        security_context=container_security(writable_root=True),
        volume_mounts=mounts,
    )


def webui_container(args: PodArgs, mounts: list[VolumeMountArgs]) -> ContainerArgs:
    """The manual's web UI and probes; the start-up probe takes the place of its blind delays."""
    environment = {
        "MODEL_PATH": model_path(args.inference.model),
        "REDIS_HOST": args.redis_host,
        "REDIS_PASSWORD_FILE": f"{PASSWORD_FOLDER}/password",
        "HOME": "/tmp",  # noqa: S108
    }
    return ContainerArgs(
        name="webui",
        image=args.webui_image,
        args=[
            *webui_arguments(args.inference, drain_delay=DRAIN_DELAY_SECONDS, drain_timeout=DRAIN_SECONDS),
            *access_arguments(args.access),
        ],
        env=[EnvVarArgs(name=name, value=value) for name, value in environment.items()],
        ports=ports(http=WEBUI_PORT),
        startup_probe=http_probe("/healthz", "http", period=2, timeout=5, failures=150),
        readiness_probe=http_probe("/ready", "http", period=10, timeout=5, failures=3),
        liveness_probe=http_probe("/healthz", "http", period=30, timeout=10, failures=4),
        resources=burstable(
            args.inference.webui_cpu, args.inference.webui_memory, cpu_limit=WEBUI_CPU_LIMIT, disk="768Mi"
        ),
        security_context=container_security(),
        volume_mounts=mounts,
    )


def model_volume(store: ModelStore, nfs_server: str | None) -> VolumeArgs:
    """`model-storage`, read-only: an NFS export, or a folder that every worker already has.

    Raises pulumi.RunError for an export without a server.
    """
    if store.kind == "hostPath":
        folder = HostPathVolumeSourceArgs(path=store.path, type="Directory")
        return VolumeArgs(name="model-storage", host_path=folder)
    if not nfs_server:
        raise pulumi.RunError(
            "qwen3-vl:modelStore.server: absent, and there is no storage node; an export needs a server."
            " Name one, add a storage node, or use kind hostPath"
        )
    export = NFSVolumeSourceArgs(server=nfs_server, path=store.path, read_only=True)
    return VolumeArgs(name="model-storage", nfs=export)


def password_volume(secret: pulumi.Input[str]) -> VolumeArgs:
    """A file, so that the password is in no process's environment."""
    return VolumeArgs(
        name="redis-password",
        secret=SecretVolumeSourceArgs(
            secret_name=secret, items=[KeyToPathArgs(key="password", path="password")], default_mode=0o440
        ),
    )


def access_mounts(args: PodArgs) -> list[VolumeMountArgs]:
    """The whole folder, because the kubelet renews the files of such a mount when the Secret changes."""
    return [] if args.access_secret is None else [VolumeMountArgs(name="access", mount_path=FOLDER, read_only=True)]


def access_volumes(args: PodArgs) -> list[VolumeArgs]:
    if args.access_secret is None:
        return []
    secret = SecretVolumeSourceArgs(secret_name=args.access_secret, default_mode=0o440)
    return [VolumeArgs(name="access", secret=secret)]
