"""Trivy on a schedule: reads every image that the program runs, and tells Prometheus what is known to be wrong with it.

A CronJob scans and keeps the results in a ConfigMap; a Deployment shows that to Prometheus, so that the results outlive the Job,
a restart and Prometheus' own samples. What reads foreign images has no token and no volume but its own; docs/adr/0025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs
from pulumi_kubernetes.batch.v1 import CronJob, CronJobSpecArgs, JobSpecArgs, JobTemplateSpecArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapProjectionArgs,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    EnvVarArgs,
    KeyToPathArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProjectedVolumeSourceArgs,
    ServiceAccount,
    ServiceAccountTokenProjectionArgs,
    VolumeArgs,
    VolumeMountArgs,
    VolumeProjectionArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.images import image
from components.naming import MODEL_CACHE_USER, labels, selector, token
from components.observability.scanned_images import where
from components.pods import burstable, container_security, http_probe, leave_dead_nodes, pod_security, ports, scratch
from components.rbac import Account, grant, rule
from components.settings import Images
from components.settings.observability import ImageScan as ImageScanSettings

NAME, RESULTS = "image-scan", "image-scan-results"
JOB = "image-scan-trivy"  # label of the pods that come and go: they have nothing for Prometheus to read
SCRIPT = Path(__file__).with_name("scripts") / "scan_images.sh"
FILES, REPORTS, CACHE, FOUND = "/etc/image-scan", "/reports", "/cache", "/results"
CREDENTIALS = "/var/run/secrets/kubernetes.io/serviceaccount"
LIST = f"{FILES}/images"
PORT = 7873
# Where Trivy's databases are published; the mirror has them under the same paths.
DATABASE, JAVA_DATABASE = "ghcr.io/aquasecurity/trivy-db:2", "ghcr.io/aquasecurity/trivy-java-db:1"
ONE_IMAGE_SECONDS = 1800  # an engine's image has ten gigabytes
LONGEST_SECONDS = 6 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageScanArgs:
    scan: ImageScanSettings
    scanned: Mapping[str, str]  # name -> reference
    images: Images
    mirror: str | None
    namespace: pulumi.Input[str]
    namespace_name: str


class ImageScan(pulumi.ComponentResource):
    """CronJob and Deployment `image-scan`, ConfigMap `image-scan-results`."""

    def __init__(self, name: str, args: ImageScanArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("observability", "ImageScan"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        account = Account(name=NAME, namespace=args.namespace_name, labels=labels(NAME, "security"))
        metadata = ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=account.labels)
        ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=here)
        kept = rule("", "configmaps", verbs=("get", "patch"), names=(RESULTS,))
        grant(name, account, args.namespace_name, [kept], here)
        # Its data are the scan's: nothing here says what they are, so no `up` takes them away.
        ConfigMap(
            f"{name}-results",
            metadata=ObjectMetaArgs(name=RESULTS, namespace=args.namespace, labels=account.labels),
            opts=here,
        )
        # Named by the engine, so that another list is another exporter, which drops what was found in former images.
        files = ConfigMap(
            f"{name}-files",
            metadata=ObjectMetaArgs(namespace=args.namespace, labels=account.labels),
            data={
                "images": "".join(f"{each} {reference}\n" for each, reference in args.scanned.items()),
                SCRIPT.name: SCRIPT.read_text(),
            },
            opts=here,
        ).metadata.name
        CronJob(name, metadata=metadata, spec=cron_job_spec(args, files), opts=here)
        Deployment(
            name,
            metadata=metadata,
            spec=DeploymentSpecArgs(
                replicas=1,
                revision_history_limit=3,
                selector=LabelSelectorArgs(match_labels=selector(NAME)),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=account.labels), spec=exporter_pod(args.images, files)
                ),
            ),
            opts=here,
        )
        self.register_outputs({})


def schedule(scan: ImageScanSettings) -> str:
    """Cron's five fields, in UTC."""
    hour, minute = (int(part) for part in scan.starts_at.split(":"))
    hours = sorted((hour + later) % 24 for later in range(0, 24, min(scan.every_hours, 24)))
    return f"{minute} {','.join(map(str, hours))} * * {0 if scan.every_hours == 168 else '*'}"


def cron_job_spec(args: ImageScanArgs, files: pulumi.Input[str]) -> CronJobSpecArgs:
    """One at a time, and over before the next one is due. A retry goes on where the pod was stopped (scan_images.sh)."""
    return CronJobSpecArgs(
        schedule=schedule(args.scan),
        time_zone="Etc/UTC",
        concurrency_policy="Forbid",
        starting_deadline_seconds=3600,
        successful_jobs_history_limit=1,
        failed_jobs_history_limit=1,
        job_template=JobTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=labels(JOB, "security")),
            spec=JobSpecArgs(
                active_deadline_seconds=min(args.scan.every_hours * 1800, LONGEST_SECONDS),
                backoff_limit=6,
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=labels(JOB, "security")), spec=scan_pod(args, files)
                ),
            ),
        ),
    )


def scan_pod(args: ImageScanArgs, files: pulumi.Input[str]) -> PodSpecArgs:
    """First Trivy, without a token; then what keeps its reports, with one that may change one ConfigMap."""
    cache, cache_mount = scratch("cache", CACHE, f"{args.scan.disk_mib}Mi")
    found, found_mount = scratch("reports", REPORTS, "256Mi")
    listed = VolumeMountArgs(name="files", mount_path=FILES, read_only=True)
    return PodSpecArgs(
        service_account_name=NAME,
        automount_service_account_token=False,
        enable_service_links=False,
        restart_policy="OnFailure",
        security_context=pod_security(MODEL_CACHE_USER),
        termination_grace_period_seconds=10,
        init_containers=[
            ContainerArgs(
                name="scan",
                image=image("trivy", args.images),
                command=["/bin/sh", f"{FILES}/{SCRIPT.name}"],
                env=[EnvVarArgs(name=name, value=value) for name, value in trivy(args).items()],
                resources=burstable(
                    "100m", f"{args.scan.memory_mib}Mi", cpu_limit="1", disk=f"{args.scan.disk_mib + 512}Mi"
                ),
                security_context=container_security(),
                volume_mounts=[cache_mount, found_mount, listed],
            )
        ],
        containers=[
            ContainerArgs(
                name="publish",
                image=image("model-cache", args.images),
                command=["python", "-m", "image_scan", f"--images={LIST}"],
                args=["publish", f"--reports={REPORTS}", f"--config-map={args.namespace_name}/{RESULTS}"],
                resources=burstable("10m", "128Mi", cpu_limit="250m"),
                security_context=container_security(),
                volume_mounts=[
                    VolumeMountArgs(name="reports", mount_path=REPORTS, read_only=True),
                    listed,
                    VolumeMountArgs(name="credentials", mount_path=CREDENTIALS, read_only=True),
                ],
            )
        ],
        volumes=[cache, found, files_volume(files), credentials()],
    )


def trivy(args: ImageScanArgs) -> dict[str, str]:
    """Its flags as variables: packages only, images from their registry only, nothing asked that is not needed."""
    return {
        "TRIVY_SCANNERS": "vuln",
        "TRIVY_IMAGE_SRC": "remote",
        "TRIVY_CACHE_DIR": CACHE,
        "TRIVY_DB_REPOSITORY": where(DATABASE, args.mirror),
        "TRIVY_JAVA_DB_REPOSITORY": where(JAVA_DATABASE, args.mirror),
        "TRIVY_INSECURE": str((args.mirror or "").startswith("http:")).lower(),
        "TRIVY_TIMEOUT": f"{ONE_IMAGE_SECONDS}s",
        "TRIVY_DISABLE_TELEMETRY": "true",
        "TRIVY_SKIP_VERSION_CHECK": "true",
        "TMPDIR": f"{CACHE}/scratch",
        "HOME": CACHE,
    }


def exporter_pod(images: Images, files: pulumi.Input[str]) -> PodSpecArgs:
    return PodSpecArgs(
        service_account_name=NAME,
        automount_service_account_token=False,
        enable_service_links=False,
        tolerations=leave_dead_nodes(),
        security_context=pod_security(MODEL_CACHE_USER),
        termination_grace_period_seconds=10,
        containers=[
            ContainerArgs(
                name="exporter",
                image=image("model-cache", images),
                command=["python", "-m", "image_scan", f"--images={LIST}"],
                args=["serve", f"--results={FOUND}", f"--port={PORT}"],
                ports=ports(metrics=PORT),
                readiness_probe=http_probe("/metrics", "metrics", period=10, timeout=5, failures=3),
                liveness_probe=http_probe("/metrics", "metrics", period=30, timeout=10, failures=4),
                resources=burstable("10m", "64Mi", cpu_limit="250m"),
                security_context=container_security(),
                volume_mounts=[
                    VolumeMountArgs(name="files", mount_path=FILES, read_only=True),
                    VolumeMountArgs(name="results", mount_path=FOUND, read_only=True),
                ],
            )
        ],
        volumes=[
            files_volume(files),
            VolumeArgs(name="results", config_map=ConfigMapVolumeSourceArgs(name=RESULTS)),
        ],
    )


def files_volume(files: pulumi.Input[str]) -> VolumeArgs:
    return VolumeArgs(name="files", config_map=ConfigMapVolumeSourceArgs(name=files))


def credentials() -> VolumeArgs:
    """As the kubelet mounts them by itself, but for one container only and for an hour."""
    return VolumeArgs(
        name="credentials",
        projected=ProjectedVolumeSourceArgs(
            default_mode=0o440,
            sources=[
                VolumeProjectionArgs(
                    service_account_token=ServiceAccountTokenProjectionArgs(path="token", expiration_seconds=3600)
                ),
                VolumeProjectionArgs(
                    config_map=ConfigMapProjectionArgs(
                        name="kube-root-ca.crt", items=[KeyToPathArgs(key="ca.crt", path="ca.crt")]
                    )
                ),
            ],
        ),
    )
