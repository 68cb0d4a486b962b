"""What must hold for every Kubernetes object of every checked-in stack, whatever its values are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from components.inference.pod import APP, GPU
from components.services import metallb, traefik
from tests.support.manifests import PASSWORD, STACKS, WORKLOADS, Manifest, manifests, stack_graph, stack_settings

# Pods that may not be held to Pod Security "restricted", and why.
PRIVILEGED = {
    "speaker": "answers ARP: raw sockets on the host's network",
    "nvidia-device-plugin": "writes its socket into the kubelet's folder, which is root's",
}
HOST_FOLDERS = {"nvidia-device-plugin": {"/var/lib/kubelet/device-plugins", "/var/run/cdi"}}
CUSTOM = ("IPAddressPool", "L2Advertisement", "IngressRoute", "Middleware", "TraefikService")


@pytest.fixture(params=STACKS)
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return manifests(stack_graph(request.param))


def workloads(objects: list[Manifest]) -> list[Manifest]:
    return [each for each in objects if each.kind in WORKLOADS]


def one(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [each for each in objects if (each.kind, each.name) == (kind, name)]
    return found


def containers(objects: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    for workload in workloads(objects):
        for container in workload.containers():
            yield f"{workload.where}: {container['name']}", container


def selected(objects: list[Manifest], namespace: str, selector: dict[str, str]) -> list[Manifest]:
    return [
        each
        for each in workloads(objects)
        if each.namespace == namespace and selector.items() <= each.pod["metadata"]["labels"].items()
    ]


def test_the_api_schema_accepts_every_object(objects: list[Manifest]) -> None:
    checked = 0
    for each in objects:
        if each.kind not in CUSTOM:
            body = each.body | ({"stringData": {}} if "stringData" in each.body else {})
            kubernetes_validate.validate(body, "1.34", strict=True)
            checked += 1
    assert checked > 40


def test_every_container_has_requests_and_limits_and_its_memory_and_disk_are_its_own(objects: list[Manifest]) -> None:
    for where, container in containers(objects):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert requests.keys() == limits.keys() >= {"cpu", "memory", "ephemeral-storage"}, where
        for amount in ("memory", "ephemeral-storage"):
            assert requests[amount] == limits[amount], where


def test_disk_that_is_asked_for_covers_the_scratch_volumes(objects: list[Manifest]) -> None:
    mebibytes = {"Mi": 1, "Gi": 1024}

    def size(text: str) -> int:
        return int(text[:-2]) * mebibytes[text[-2:]]

    for workload in workloads(objects):
        scratch = {
            volume["name"]: size(volume["emptyDir"]["sizeLimit"])
            for volume in workload.pod["spec"].get("volumes", ())
            if "emptyDir" in volume and volume["emptyDir"].get("medium") != "Memory"
        }
        for container in workload.containers():
            mine = sum(scratch.get(mount["name"], 0) for mount in container.get("volumeMounts", ()))
            assert size(container["resources"]["requests"]["ephemeral-storage"]) > mine, workload.where


def test_every_image_is_pinned(objects: list[Manifest]) -> None:
    for where, container in containers(objects):
        assert re.fullmatch(
            r"[a-z0-9.-]+\.[a-z]+(:\d+)?/[a-z0-9./-]+:[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?", container["image"]
        ), where


def test_containers_have_no_privileges(objects: list[Manifest]) -> None:
    for workload in workloads(objects):
        free = workload.name in PRIVILEGED
        pod = workload.pod["spec"]
        for container in workload.containers():
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, workload.where
            assert security["capabilities"]["drop"] == ["ALL"], workload.where
            assert set(security["capabilities"].get("add", ())) <= ({"NET_RAW"} if free else set()), workload.where
            assert security["readOnlyRootFilesystem"] or container["name"] == "engine", workload.where
        if not free:
            assert pod["securityContext"]["runAsNonRoot"] is True, workload.where
            assert pod["securityContext"]["runAsUser"] > 0, workload.where
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, workload.where
            assert not any(pod.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")), workload.where


def test_folders_of_the_host_are_mounted_where_that_is_the_point_only(objects: list[Manifest]) -> None:
    for workload in workloads(objects):
        found = {
            volume["hostPath"]["path"] for volume in workload.pod["spec"].get("volumes", ()) if "hostPath" in volume
        }
        if workload.name == APP:
            assert len(found) <= 1
        else:
            assert found == HOST_FOLDERS.get(workload.name, set()), workload.where


def test_a_token_is_mounted_only_into_pods_that_were_granted_something(objects: list[Manifest]) -> None:
    granted = {
        (subject["namespace"], subject["name"])
        for each in objects
        if each.kind.endswith("RoleBinding")
        for subject in each.body["subjects"]
    }
    accounts = {(each.namespace, each.name) for each in objects if each.kind == "ServiceAccount"}
    assert granted == accounts
    for workload in workloads(objects):
        pod = workload.pod["spec"]
        uses = (workload.namespace, pod.get("serviceAccountName", "default"))
        assert uses in granted or pod["automountServiceAccountToken"] is False, workload.where


def test_grants_are_named_and_no_secret_is_readable_in_the_whole_cluster(objects: list[Manifest]) -> None:
    for each in objects:
        if each.kind in ("Role", "ClusterRole"):
            for rule in each.body["rules"]:
                assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"], each.where
                assert each.kind == "Role" or "secrets" not in rule["resources"], each.where


def test_selectors_match_their_own_pods_and_name_no_version(objects: list[Manifest]) -> None:
    for workload in workloads(objects):
        selector = workload.spec["selector"]["matchLabels"]
        assert selected(objects, workload.namespace, selector) == [workload], workload.where
        assert not any("version" in label for label in selector), workload.where


def test_services_lead_to_a_port_of_exactly_one_workload(objects: list[Manifest]) -> None:
    found = [each for each in objects if each.kind == "Service"]
    assert {each.name for each in found} == {"redis", "traefik", "qwen3-vl-service"}
    for service in found:
        (workload,) = selected(objects, service.namespace, service.spec["selector"])
        ports = [port for container in workload.containers() for port in container["ports"]]
        known = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        assert {port["targetPort"] for port in service.spec["ports"]} <= known, service.where


def test_every_replicated_service_survives_a_drain_and_holds_up_none(objects: list[Manifest]) -> None:
    budgets = [each for each in objects if each.kind == "PodDisruptionBudget"]
    assert {each.name for each in budgets} == {"traefik", APP}
    for budget in budgets:
        (workload,) = selected(objects, budget.namespace, budget.spec["selector"]["matchLabels"])
        assert "minAvailable" not in budget.spec, "a minimum equal to the replicas would hold up every drain"
        assert budget.spec["maxUnavailable"] == 1
        assert budget.spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert workload.kind == "Deployment"


def test_every_deployment_leaves_a_dead_node_within_half_a_minute(objects: list[Manifest]) -> None:
    for workload in workloads(objects):
        if workload.kind == "Deployment":
            soon = {
                toleration["key"]: toleration["tolerationSeconds"]
                for toleration in workload.pod["spec"]["tolerations"]
                if toleration.get("effect") == "NoExecute"
            }
            assert soon.keys() == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}, workload.where
            assert max(soon.values()) <= 30, workload.where


def test_every_volume_is_declared_and_used(objects: list[Manifest]) -> None:
    for workload in workloads(objects):
        declared = {volume["name"] for volume in workload.pod["spec"].get("volumes", ())}
        mounted = {mount["name"] for container in workload.containers() for mount in container.get("volumeMounts", ())}
        assert declared == mounted, workload.where


def test_priorities_exist(objects: list[Manifest]) -> None:
    known = {each.name for each in objects if each.kind == "PriorityClass"}
    for workload in workloads(objects):
        priority = workload.pod["spec"]["priorityClassName"]
        assert priority in known | {"system-cluster-critical", "system-node-critical"}, workload.where


def test_liveness_is_more_patient_than_readiness(objects: list[Manifest]) -> None:
    def patience(probe: dict[str, Any]) -> int:
        return int(probe["periodSeconds"]) * int(probe["failureThreshold"])

    probed = [(where, each) for where, each in containers(objects) if "livenessProbe" in each]
    assert {each["name"] for _, each in probed} == {"controller", "speaker", "traefik", "redis", "webui", "engine"}
    for where, container in probed:
        assert patience(container["livenessProbe"]) >= 2 * patience(container["readinessProbe"]), where
        assert container["livenessProbe"]["timeoutSeconds"] >= 5, where


def test_the_password_is_in_one_secret_only(objects: list[Manifest]) -> None:
    for each in objects:
        assert PASSWORD not in json.dumps(each.body), each.where
    holders = [each for each in objects if each.kind == "Secret"]
    assert [each.body["stringData"] for each in holders] == ["[secret]"]


def test_every_custom_object_has_its_definition_and_waits_for_it(objects: list[Manifest]) -> None:
    defined = {each.spec["names"]["kind"]: each for each in objects if each.kind == "CustomResourceDefinition"}
    for stack in STACKS:
        graph = stack_graph(stack)
        for each in manifests(graph, lambda each: each.kind in CUSTOM):
            definition = defined[each.kind]
            group, version = each.body["apiVersion"].split("/")
            assert group == definition.spec["group"]
            assert version in [served["name"] for served in definition.spec["versions"] if served["served"]]
            if each.namespace == metallb.NAMESPACE:
                assert definition.name in graph.dependency_names(each.resource.name)


def test_the_controllers_may_read_every_kind_they_are_given(objects: list[Manifest]) -> None:
    for module, role in ((traefik, "traefik"), (metallb, "speaker")):
        granted = {
            resource
            for each in objects
            if each.kind in ("Role", "ClusterRole") and each.name.rpartition(":")[2] == role
            for rule in each.body["rules"]
            if rule["apiGroups"] == [module.GROUP]
            for resource in rule["resources"]
        }
        assert {definition.plural for definition in module.DEFINITIONS} <= granted


def test_the_route_leads_from_an_entry_point_to_the_web_ui(objects: list[Manifest]) -> None:
    arguments = next(one(objects, "Deployment", "traefik").containers())["args"]
    route = one(objects, "IngressRoute", "qwen3-vl-ingress")
    for entry in route.spec["entryPoints"]:
        assert any(argument.startswith(f"--entryPoints.{entry}.address=") for argument in arguments), entry
    assert f"--providers.kubernetesCRD.namespaces={route.namespace}" in arguments
    limits = {}
    for rule in route.spec["routes"]:
        (reference,) = rule["services"]
        failover = one(objects, reference["kind"], reference["name"]).spec["failover"]
        limits[rule["match"]] = failover["errors"]["maxRequestBodyBytes"]
        for side in ("service", "fallback"):
            service = one(objects, "Service", failover[side]["name"])
            assert failover[side]["port"] in [port["port"] for port in service.spec["ports"]]
        # Stickiness stays soft: what the pinned replica does not answer is asked again, of any replica.
        assert "sticky" in failover["service"]
        assert "sticky" not in failover["fallback"]
        # Not on the first try: there the web UI's own 5xx would count, and users could take every replica out.
        assert "passiveHealthCheck" not in failover["service"]
        for middleware in failover["fallback"]["middlewares"]:
            assert one(objects, "Middleware", middleware["name"]).namespace == route.namespace
    # Traefik asks the longest rule first: a body meets the smallest buffer that holds it, one of unknown length the largest.
    asked = [limits[match] for match in sorted(limits, key=len, reverse=True)]
    assert asked == sorted(asked) == [10**6, 10**7, 32 * 1024 * 1024]
    for match, limit in limits.items():
        length = re.search(r"`Content-Length`, `([^`]*)`", match)
        if length:
            assert re.search(length[1], str(limit - 1))
            assert not re.search(length[1], str(limit))


@pytest.mark.parametrize("stack", STACKS)
def test_names_of_the_manual(stack: str) -> None:
    objects, settings = manifests(stack_graph(stack)), stack_settings(stack)
    deployment = one(objects, "Deployment", "qwen3-vl-webui")
    webui, engine = (
        next(each for each in deployment.containers() if each["name"] == name) for name in ("webui", "engine")
    )
    assert deployment.spec["replicas"] == settings.inference.replicas
    assert deployment.pod["metadata"]["labels"]["app"] == "qwen3-vl-webui"
    assert {"name": "MODEL_PATH", "value": "/models/Qwen3-VL-4B-Instruct"} in webui["env"]
    assert [port["containerPort"] for port in webui["ports"]] == [7860]
    assert webui["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert webui["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    wanted = {"cpu": settings.inference.cpu, "memory": settings.inference.memory, GPU: "1"}
    for side in ("requests", "limits"):
        assert engine["resources"][side].items() >= wanted.items()
    assert {"name": "model-storage", "mountPath": "/models", "readOnly": True} in engine["volumeMounts"]
    service = one(objects, "Service", "qwen3-vl-service")
    assert (service.spec["type"], [(port["port"], port["targetPort"]) for port in service.spec["ports"]]) == (
        "ClusterIP",
        [(80, 7860)],
    )
    assert (
        one(objects, "IngressRoute", "qwen3-vl-ingress").spec["routes"][0]["match"]
        == f"Host(`{settings.ingress.host}`)"
    )
    assert [port["port"] for port in one(objects, "Service", "redis").spec["ports"]] == [6379]


@pytest.mark.parametrize("stack", STACKS)
def test_the_engine_outlives_the_web_ui_and_has_its_time_to_start(stack: str) -> None:
    deployment = one(manifests(stack_graph(stack)), "Deployment", "qwen3-vl-webui")
    pod, budget = deployment.pod["spec"], stack_settings(stack).inference.startup_seconds
    (engine,) = pod["initContainers"]
    assert engine["restartPolicy"] == "Always", "a sidecar: stopped after the web UI"
    assert engine["startupProbe"]["periodSeconds"] * engine["startupProbe"]["failureThreshold"] >= budget
    assert deployment.spec["progressDeadlineSeconds"] > budget
    assert int(deployment.resource.create_timeout.removesuffix("s")) > budget
    drain = {
        flag: int(value)
        for flag, _, value in (argument.partition("=") for argument in pod["containers"][0]["args"])
        if flag.startswith("--drain-")
    }
    assert len(drain) == 2
    assert pod["terminationGracePeriodSeconds"] > sum(drain.values())


def test_replicas_belong_to_whoever_scales(objects: list[Manifest]) -> None:
    assert one(objects, "Deployment", "qwen3-vl-webui").resource.ignore_changes == ("spec.replicas",)


@pytest.mark.parametrize("stack", STACKS)
def test_gateway_replicas_keep_apart_where_there_are_nodes_enough(stack: str) -> None:
    settings = stack_settings(stack)
    deployment = one(manifests(stack_graph(stack)), "Deployment", "traefik")
    assert settings.ingress.replicas <= len(settings.workers), "the stacks that are checked in have enough"
    (term,) = deployment.pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"] == deployment.spec["selector"]
    assert deployment.spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
