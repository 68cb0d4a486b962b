"""The pod of one replica: the web UI, and the engine beside it as a sidecar.

The engine is a native sidecar (an init container that keeps running), for the order this gives: the web UI starts once the
engine has loaded the model, and when the pod leaves, the engine is stopped only after the web UI has finished its answers.
Before it comes another one that waits for this node's copy of the model and keeps it from being removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import (
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    EnvVarArgs,
    KeyToPathArgs,
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
from components.inference.engines import engine
from components.inference.engines.engine import FILES, HOME
from components.inference.model import ENGINE_PORT, MODELS, model_path, webui_arguments
from components.inference.model_cache import claim_volume, model_holder, model_mount
from components.naming import GPU, GPU_RUNTIME, selector
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
from components.tracing import Tracing

APP = "qwen3-vl-webui"
WEBUI_PORT = 7860
USER = 2000  # `vllm` in newer vLLM images; older ones run as any user that has a name and a home
PASSWORD_FOLDER = "/run/secrets/redis"  # noqa: S105
PROBE_SECONDS = 5
HOME_GIB = 10  # compiled kernels
WEBUI_CPU_LIMIT = "2"  # a page load or an image to scale is a short burst; waiting for it is what a user would see


@dataclass(frozen=True, kw_only=True, slots=True)
class PodArgs:
    inference: Inference
    model_store: ModelStore
    models_claim: pulumi.Input[str]  # of the worker's copy of the model
    images: Images
    redis_host: pulumi.Input[str]
    redis_password_secret: pulumi.Input[str]  # name of a Secret with the key `password`
    access: Access
    access_secret: pulumi.Input[str] | None  # name of a Secret with the files of `access`; None if there are none
    webui_image: pulumi.Input[str]
    priority_class: pulumi.Input[str]
    tracing: Tracing | None = None
    engine_files: pulumi.Input[str] | None = None  # name of a ConfigMap with the engine's files, if it has any


def pod_spec(args: PodArgs) -> PodSpecArgs:
    shm, shm_mount = scratch("shm", "/dev/shm", "1Gi", medium="Memory")  # noqa: S108  the engine's processes share tensors there
    home, home_mount = scratch("engine-home", HOME, f"{HOME_GIB}Gi")
    tmp, tmp_mount = scratch("webui-tmp", "/tmp", "512Mi")  # noqa: S108  uploads; the web UI keeps them below 256 MiB
    models = model_mount(args.model_store, "model-storage", MODELS)
    files = [VolumeMountArgs(name="engine-files", mount_path=FILES, read_only=True)] if args.engine_files else []
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
        runtime_class_name=GPU_RUNTIME,
        tolerations=[*leave_dead_nodes(), TolerationArgs(key=GPU, operator="Exists", effect="NoSchedule")],
        topology_spread_constraints=over_nodes(selector(APP)),
        security_context=pod_security(USER),
        termination_grace_period_seconds=args.inference.grace_seconds,
        init_containers=[
            model_holder(args.model_store, args.inference.model, args.images, "model-storage"),
            engine_container(args, [models, shm_mount, home_mount, *files]),
        ],
        containers=[webui_container(args, [models, password, tmp_mount, *access_mounts(args)])],
        volumes=[
            claim_volume("model-storage", args.models_claim, read_only=True),
            password_volume(args.redis_password_secret),
            *engine_files(args.engine_files),
            *access_volumes(args),
            shm,
            home,
            tmp,
        ],
    )


def engine_container(args: PodArgs, mounts: list[VolumeMountArgs]) -> ContainerArgs:
    """The engine's OpenAI server.

    Its event loop also reads images, so a busy one answers /health late: above 200 ms for one request in twenty, now and then
    above 1 s, the kubelet's default limit (vllm#34789). It is not killed for that, nor taken out of the Service, which the web UI
    decides for the whole pod: a minute of silence or more counts, two minutes restart it, with 20 s for each answer. Until its
    first answer the start-up budget holds and nothing else.

    Its root file system stays writable: Triton, FlashInfer and the CUDA compiler write beside their own code.
    """
    chosen = engine(args.inference, args.tracing)
    return ContainerArgs(
        name="engine",
        restart_policy="Always",
        image=image(chosen.image, args.images),
        command=list(chosen.command) if chosen.command else None,
        args=list(chosen.arguments),
        env=[EnvVarArgs(name=name, value=value) for name, value in chosen.environment.items()],
        ports=ports(engine=ENGINE_PORT),
        startup_probe=http_probe(
            chosen.health,
            "engine",
            period=PROBE_SECONDS,
            timeout=PROBE_SECONDS,
            failures=-(-args.inference.startup_budget_seconds // PROBE_SECONDS),
        ),
        readiness_probe=http_probe(chosen.health, "engine", period=10, timeout=20, failures=6),
        liveness_probe=http_probe(chosen.health, "engine", period=20, timeout=20, failures=6),
        resources=guaranteed(args.inference.cpu, args.inference.memory, disk=f"{HOME_GIB + 1}Gi", extended={GPU: "1"}),
        security_context=container_security(writable_root=True),
        volume_mounts=mounts,
    )


def engine_files(config_map: pulumi.Input[str] | None) -> list[VolumeArgs]:
    if config_map is None:
        return []
    return [VolumeArgs(name="engine-files", config_map=ConfigMapVolumeSourceArgs(name=config_map, default_mode=0o444))]


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
        args=[*webui_arguments(args.inference, args.tracing), *access_arguments(args.access)],
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
