"""What a container may not run, use and touch is found. Each case breaks one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.policy import pods
from tests.policy.breaking import STACK, Broken, container, found_by, inputs, names, pod, without
from tests.policy.findings import findings
from tests.policy.program import program
from tests.support.graph import Resource

CASES = (
    Broken(
        rule=pods.images_are_pinned_by_digest,
        resource="StatefulSet redis-group",
        change=container(lambda each: each.update(image="docker.io/library/redis:7")),
        part="docker.io/library/redis:7",
    ),
    Broken(
        rule=pods.images_name_their_registry_and_version,
        resource="StatefulSet redis-group",
        change=container(lambda each: each.update(image=f"docker.io/library/redis:latest@sha256:{'ab' * 32}")),
        part=f"docker.io/library/redis:latest@sha256:{'ab' * 32}",
    ),
    Broken(
        rule=pods.images_name_their_registry_and_version,
        resource="StatefulSet redis-group",
        change=container(lambda each: each.update(image=f"redis:7.0.15@sha256:{'ab' * 32}")),
        part=f"redis:7.0.15@sha256:{'ab' * 32}",
    ),
    Broken(
        rule=pods.containers_have_requests_and_limits,
        resource="StatefulSet redis-group",
        change=container(lambda each: each["resources"]["limits"].pop("memory")),
        part="redis",
    ),
    Broken(
        rule=pods.containers_have_requests_and_limits,
        resource="DaemonSet flannel",
        change=pod(lambda spec: spec["initContainers"][1]["resources"]["requests"].pop("cpu")),
        part="install-cni",
    ),
    Broken(
        rule=pods.containers_do_not_run_as_root,
        resource="Deployment traefik",
        change=pod(lambda spec: spec["securityContext"].pop("runAsNonRoot")),
        part="traefik",
    ),
    Broken(
        rule=pods.containers_do_not_run_as_root,
        resource="Deployment traefik",
        change=container(lambda each: each["securityContext"].update(runAsUser=0.0)),
        part="traefik",
    ),
    Broken(
        rule=pods.containers_cannot_gain_privileges,
        resource="DaemonSet gpu-plugin",
        change=container(lambda each: each["securityContext"].pop("allowPrivilegeEscalation")),
        part="plugin",
    ),
    Broken(
        rule=pods.containers_drop_all_capabilities,
        resource="DaemonSet model-cache",
        change=container(lambda each: each["securityContext"]["capabilities"].update(drop=["NET_RAW"])),
        part="agent",
    ),
    Broken(
        rule=pods.containers_add_no_capabilities,
        resource="DaemonSet metallb-speaker",
        change=container(lambda each: each["securityContext"]["capabilities"]["add"].append("NET_ADMIN")),
        part="speaker NET_ADMIN",
    ),
    Broken(
        rule=pods.containers_use_the_default_seccomp_profile,
        resource="StatefulSet prometheus",
        change=pod(lambda spec: spec["securityContext"].update(seccompProfile={"type": "Unconfined"})),
        part="prometheus",
    ),
    Broken(
        rule=pods.containers_cannot_write_their_image,
        resource="Deployment qwen3-vl",
        change=container(lambda each: each["securityContext"].update(readOnlyRootFilesystem=False)),
        part="webui",
    ),
    Broken(
        rule=pods.containers_are_not_privileged,
        resource="DaemonSet flannel",
        change=container(lambda each: each["securityContext"].update(privileged=True)),
        part="kube-flannel",
    ),
    Broken(
        rule=pods.pods_share_nothing_with_the_host,
        resource="StatefulSet redis-group",
        change=pod(lambda spec: spec.update(hostPID=True)),
        part="hostPID",
    ),
    Broken(
        rule=pods.pods_share_nothing_with_the_host,
        resource="DeploymentPatch dns-spread",
        change=pod(lambda spec: spec.update(hostNetwork=True)),
        part="hostNetwork",
    ),
    Broken(
        rule=pods.pods_share_nothing_with_the_host,
        resource="StatefulSet redis-group",
        change=container(lambda each: each["ports"][0].update(hostPort=6379.0)),
        part="hostPort 6379",
    ),
    Broken(
        rule=pods.no_folder_of_the_host_is_mounted,
        resource="DaemonSet gpu-plugin",
        change=pod(lambda spec: spec["volumes"].append({"name": "all", "hostPath": {"path": "/"}})),
        part="/",
    ),
    Broken(
        rule=pods.no_folder_of_the_host_is_mounted,
        resource="PersistentVolume model-cache-models-volume",
        change=inputs(lambda values: values["spec"]["hostPath"].update(path="/etc")),
        part="/etc",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_that_rule_alone_names_that_resource(case: Broken) -> None:
    assert found_by(case) == [case.expected]


def as_cron_job(template: dict[str, Any]) -> dict[str, Any]:
    return {"jobTemplate": {"spec": {"template": template}}}


@pytest.mark.parametrize(
    ("kind", "spec"), [("StatefulSet", None), ("CronJob", as_cron_job), ("Pod", lambda template: template["spec"])]
)
def test_whatever_makes_pods_is_looked_at(kind: str, spec: Callable[[dict[str, Any]], dict[str, Any]] | None) -> None:
    def change(resource: Resource) -> Resource:
        privileged = container(lambda each: each["securityContext"].update(privileged=True))(resource)
        values = privileged.inputs
        inside = spec(values["spec"]["template"]) if spec else values["spec"]
        return replace(privileged, type=f"kubernetes:any/v1:{kind}", inputs={**values, "kind": kind, "spec": inside})

    found = findings(without(program(STACK), "Deployment traefik", change), [pods.containers_are_not_privileged])
    assert [each.resource for each in found] == [f"{kind} traefik"]


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(pods.RULES)
