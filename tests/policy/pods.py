"""What a container may run, use and touch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.policy.findings import Finding, label
from tests.policy.objects import all_containers, containers, effective, of_kind, pod_spec, security, workloads
from tests.support.graph import Graph
from tests.support.manifests import Manifest

BY_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
WITH_VERSION = re.compile(r"[a-z0-9.-]+\.[a-z]+(:\d+)?/[a-z0-9./-]+:[\w.-]*\d[\w.-]*(@.+)?")
SHARED = ("hostNetwork", "hostPID", "hostIPC")


def images_are_pinned_by_digest(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        if not BY_DIGEST.fullmatch(container["image"]):
            yield Finding(
                resource=label(workload.resource),
                part=container["image"],
                found=f"container {container['name']} runs an image by its tag",
                rule_says="images are pinned by digest, because a tag can be moved",
                remedy="Give the image a digest in components/versions.py",
            )


def images_name_their_registry_and_version(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        if not WITH_VERSION.fullmatch(container["image"]):
            yield Finding(
                resource=label(workload.resource),
                part=container["image"],
                found=f"container {container['name']} runs an image without a registry's host or with no number in its tag",
                rule_says="an image says where it is from and which version it is, beside its digest too",
                remedy="Write registry/repository:version in components/versions.py",
            )


def containers_have_requests_and_limits(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        resources = container.get("resources") or {}
        for side, amount in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if amount not in (resources.get(side) or {}):
                yield Finding(
                    resource=label(workload.resource),
                    part=container["name"],
                    found=f"no {side}.{amount}",
                    rule_says="a container says what it needs of processor and memory, and at how much memory it ends",
                    remedy="Use `guaranteed` or `burstable` of components/pods.py",
                )


def containers_do_not_run_as_root(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        user = effective(workload, container, "runAsUser")
        if effective(workload, container, "runAsNonRoot") is not True or not user:
            found = f"runAsNonRoot is not true or runAsUser is {user if user is not None else 'absent'}"
            yield _unsafe(workload, container, found, "containers run as a user that is not root")


def containers_cannot_gain_privileges(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        if security(container).get("allowPrivilegeEscalation") is not False:
            found = "allowPrivilegeEscalation is not false"
            yield _unsafe(workload, container, found, "a process gains no rights that its parent did not have")


def containers_drop_all_capabilities(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        if "ALL" not in ((security(container).get("capabilities") or {}).get("drop") or ()):
            yield _unsafe(workload, container, "capabilities.drop lacks ALL", "no capability is left by default")


def containers_add_no_capabilities(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        for added in (security(container).get("capabilities") or {}).get("add") or ():
            yield Finding(
                resource=label(workload.resource),
                part=f"{container['name']} {added}",
                found=f"container {container['name']} adds the capability {added}",
                rule_says="no capability is added",
                remedy="Do without it",
            )


def containers_use_the_default_seccomp_profile(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        profile = (effective(workload, container, "seccompProfile") or {}).get("type")
        if profile != "RuntimeDefault":
            found, rule = f"seccomp profile {profile}", "system calls are filtered by the runtime's default profile"
            yield _unsafe(workload, container, found, rule)


def containers_cannot_write_their_image(graph: Graph) -> Iterator[Finding]:
    for workload, container in all_containers(graph):
        if security(container).get("readOnlyRootFilesystem") is not True:
            found = "readOnlyRootFilesystem is not true"
            yield _unsafe(workload, container, found, "what is written goes to volumes, and is counted there")


def containers_are_not_privileged(graph: Graph) -> Iterator[Finding]:
    for workload in workloads(graph, patches=True):
        for container in containers(workload):
            if security(container).get("privileged"):
                yield _unsafe(workload, container, "privileged", "no container is root on its node")


def pods_share_nothing_with_the_host(graph: Graph) -> Iterator[Finding]:
    """Neither its network, processes and memory, nor a port of it."""
    for workload in workloads(graph, patches=True):
        shared = [field for field in SHARED if pod_spec(workload).get(field)]
        taken = [
            f"hostPort {port['hostPort']}"
            for container in containers(workload)
            for port in container.get("ports", ())
            if port.get("hostPort")
        ]
        for part in shared + taken:
            yield Finding(
                resource=label(workload.resource),
                part=part,
                found="shared with the host",
                rule_says="pods have a network and processes of their own",
                remedy="Reach the pod through a Service",
            )


def no_folder_of_the_host_is_mounted(graph: Graph) -> Iterator[Finding]:
    """By a pod, or by a volume that pods can claim."""
    mounted = [
        (workload, volume["hostPath"]["path"])
        for workload in workloads(graph, patches=True)
        for volume in pod_spec(workload).get("volumes", ())
        if "hostPath" in volume
    ]
    mounted += [
        (volume, volume.spec["hostPath"]["path"])
        for volume in of_kind(graph, "PersistentVolume")
        if "hostPath" in volume.spec
    ]
    for holder, path in mounted:
        yield Finding(
            resource=label(holder.resource),
            part=path,
            found="a folder of the host",
            rule_says="pods see no files of their node",
            remedy="Use an emptyDir, a ConfigMap or a claim",
        )


def _unsafe(workload: Manifest, container: dict[str, Any], found: str, rule: str) -> Finding:
    return Finding(
        resource=label(workload.resource),
        part=container["name"],
        found=found,
        rule_says=rule,
        remedy="Use `container_security` and `pod_security` of components/pods.py",
    )


RULES = (
    images_are_pinned_by_digest,
    images_name_their_registry_and_version,
    containers_have_requests_and_limits,
    containers_do_not_run_as_root,
    containers_cannot_gain_privileges,
    containers_drop_all_capabilities,
    containers_add_no_capabilities,
    containers_use_the_default_seccomp_profile,
    containers_cannot_write_their_image,
    containers_are_not_privileged,
    pods_share_nothing_with_the_host,
    no_folder_of_the_host_is_mounted,
)
