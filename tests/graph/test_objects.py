"""What must hold for every Kubernetes object of every checked-in stack, whatever its values are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
from model_cache.sources import open_source

from components.inference import model_cache
from components.inference.pod import APP
from components.naming import GPU
from components.services import metallb, traefik
from components.settings import Images, ModelStore
from components.settings.autoscaling import Autoscaling
from components.settings.stack_file import stack_settings
from tests.support.manifests import (
    KEY_DIGEST,
    PASSWORD,
    STACKS,
    TOKEN,
    USER_HASH,
    WORKLOADS,
    Manifest,
    graph,
    manifests,
    stack_graph,
)

EXTENSIONS = {"metrics-server", "prometheus-adapter"}  # there where something scales
MEMBERS = {"redis-members", *(f"redis-{ordinal}" for ordinal in range(3))}
CHAIN = EXTENSIONS | {"prometheus", "kube-state-metrics", "node-exporter", "jaeger", "grafana", "loki"}
SHOWN = {"image-scan", "jaeger", "grafana", "loki"}  # without them the service goes on: the first that may go
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
            written = [each for each in container.get("volumeMounts", ()) if not each.get("readOnly")]
            mine = sum(scratch.get(mount["name"], 0) for mount in written)
            assert size(container["resources"]["requests"]["ephemeral-storage"]) > mine, workload.where


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


def test_selectors_match_their_own_pods_and_name_no_version(objects: list[Manifest]) -> None:
    for workload in workloads(objects):
        selector = workload.spec["selector"]["matchLabels"]
        assert selected(objects, workload.namespace, selector) == [workload], workload.where
        assert not any("version" in label for label in selector), workload.where


def test_services_lead_to_a_port_of_exactly_one_workload(objects: list[Manifest]) -> None:
    found = [each for each in objects if each.kind == "Service"]
    assert {each.name for each in found} - CHAIN - MEMBERS == {"redis", "traefik", "qwen3-vl-service", "model-cache"}
    for service in (each for each in found if each.spec.get("type") != "ExternalName"):
        pod = service.spec["selector"].get("statefulset.kubernetes.io/pod-name")
        leads_to = {"app": pod.rpartition("-")[0]} if pod else service.spec["selector"]
        (workload,) = selected(objects, service.namespace, leads_to)
        ports = [port for container in workload.containers() for port in container["ports"]]
        known = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        assert {port["targetPort"] for port in service.spec["ports"]} <= known, service.where


def test_every_replicated_service_survives_a_drain_and_holds_up_none(objects: list[Manifest]) -> None:
    budgets = [each for each in objects if each.kind == "PodDisruptionBudget"]
    assert {each.name for each in budgets} - CHAIN - {"redis"} == {"traefik", APP}
    for budget in (each for each in budgets if each.name != "redis"):  # of which two must be well, so see below
        (workload,) = selected(objects, budget.namespace, budget.spec["selector"]["matchLabels"])
        assert "minAvailable" not in budget.spec, "a minimum equal to the replicas would hold up every drain"
        assert budget.spec["maxUnavailable"] == 1
        assert budget.spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert workload.kind == ("StatefulSet" if budget.name == "prometheus" else "Deployment")


def test_two_of_three_redis_members_stay(objects: list[Manifest]) -> None:
    """A drain waits while one is not well: with two away nobody could choose a primary."""
    for budget in (each for each in objects if each.kind == "PodDisruptionBudget" and each.name == "redis"):
        (workload,) = selected(objects, budget.namespace, budget.spec["selector"]["matchLabels"])
        assert (workload.kind, workload.spec["replicas"]) == ("StatefulSet", 3)
        assert budget.spec["maxUnavailable"] == 1
        assert "unhealthyPodEvictionPolicy" not in budget.spec


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
        if workload.name in SHOWN:
            assert "priorityClassName" not in workload.pod["spec"], workload.where
            continue
        priority = workload.pod["spec"]["priorityClassName"]
        assert priority in known | {"system-cluster-critical", "system-node-critical"}, workload.where


def test_liveness_is_more_patient_than_readiness(objects: list[Manifest]) -> None:
    def patience(probe: dict[str, Any]) -> int:
        return int(probe["periodSeconds"]) * int(probe["failureThreshold"])

    probed = [(where, each) for where, each in containers(objects) if "livenessProbe" in each]
    names = {each["name"] for _, each in probed}
    group = {"sentinel", "haproxy", "collector"}
    wanted = {"controller", "speaker", "traefik", "redis", "webui", "engine", "agent", "exporter"}
    assert names - CHAIN - group == wanted
    for where, container in probed:
        assert patience(container["livenessProbe"]) >= 2 * patience(container["readinessProbe"]), where
        assert container["livenessProbe"]["timeoutSeconds"] >= 5, where


def test_secrets_are_in_secrets_only(objects: list[Manifest]) -> None:
    for each in objects:
        for secret in (PASSWORD, KEY_DIGEST, USER_HASH, TOKEN):
            assert secret not in json.dumps(each.body), each.where
    holders = [each for each in objects if each.kind == "Secret" and each.body.get("type") != "kubernetes.io/tls"]
    for each in holders:
        values = each.body.get("stringData") or each.body["data"]
        assert values == "[secret]" or set(values.values()) == {"[secret]"}, each.where
    assert "redis" in {each.body["metadata"]["labels"]["app"] for each in holders}


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
    limits, refused = {}, ""
    for rule in route.spec["routes"]:
        passed = [one(objects, "Middleware", each["name"]) for each in rule.get("middlewares", [])]
        assert all(each.namespace == route.namespace for each in passed)
        if any("buffering" in each.spec for each in passed):
            assert not refused
            refused = rule["match"]
            continue
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
    # One rule for each length, and none for what does not say: equally long rules have no order that could be relied on.
    assert sorted(limits.values()) == [10**4, 10**6, 10**7, 32 * 1024 * 1024]
    lengths = {limit: re.search(r"`Content-Length`, `([^`]*)`", match) for match, limit in limits.items()}
    for bytes_said in (0, 9_999, 10_000, 999_999, 10**6, 10**7 - 1, 10**7):
        held = [limit for limit, length in lengths.items() if length and re.search(length[1], str(bytes_said))]
        assert held == [limit for limit in sorted(limits.values())[:-1] if bytes_said < limit][:1], bytes_said
    largest = max(limits.values())
    assert len(refused) > max(map(len, limits)), "what is too long is refused first"
    (length,) = re.findall(r"`Content-Length`, `([^`]*)`", refused)
    for longer in (largest + 1, largest + 10, 10 * largest, 10**8, 10**8 - 1, 10**15):
        assert re.search(length, str(longer)), longer
    for allowed in (0, 9, 99, 10**7, largest - 1, largest):
        assert not re.search(length, str(allowed)), allowed


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
    revision = f"revisions/{settings.model_store.revision}"
    models = {"name": "model-storage", "mountPath": "/models", "subPath": revision, "readOnly": True}
    assert models in engine["volumeMounts"]
    assert models in webui["volumeMounts"]
    service = one(objects, "Service", "qwen3-vl-service")
    assert (service.spec["type"], [(port["port"], port["targetPort"]) for port in service.spec["ports"]]) == (
        "ClusterIP",
        [(80, 7860)],
    )
    rules = [each["match"] for each in one(objects, "IngressRoute", "qwen3-vl-ingress").spec["routes"]]
    assert f"Host(`{settings.ingress.host}`)" in rules
    assert [port["port"] for port in one(objects, "Service", "redis").spec["ports"]] == [6379]


@pytest.mark.parametrize("stack", STACKS)
def test_the_engine_outlives_the_web_ui_and_has_its_time_to_start(stack: str) -> None:
    deployment = one(manifests(stack_graph(stack)), "Deployment", "qwen3-vl-webui")
    pod, budget = deployment.pod["spec"], stack_settings(stack).inference.startup_budget_seconds
    model, engine = pod["initContainers"]
    assert model["name"] == "model", "first: the engine's mount is there once this one has started"
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


@pytest.mark.parametrize("stack", STACKS)
def test_gateway_replicas_keep_apart_where_there_are_nodes_enough(stack: str) -> None:
    settings = stack_settings(stack)
    deployment = one(manifests(stack_graph(stack)), "Deployment", "traefik")
    assert settings.ingress.replicas <= len(settings.workers), "the stacks that are checked in have enough"
    (term,) = deployment.pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"] == deployment.spec["selector"]
    assert deployment.spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def with_inference(**changes: Any) -> list[Manifest]:
    """The objects of the production stack with other settings of the model server."""
    settings = stack_settings("prod")
    inference = settings.inference.model_copy(update=changes)
    return manifests(graph(settings.model_copy(update={"inference": inference})))


def test_tensorrt_llm_finds_its_options_in_the_pod() -> None:
    objects = with_inference(engine="tensorrt-llm")
    deployment = one(objects, "Deployment", "qwen3-vl-webui")
    _, engine = deployment.pod["spec"]["initContainers"]
    assert engine["command"] == ["trtllm-serve"]
    (path,) = [text.partition("=")[2] for text in engine["args"] if text.startswith("--extra_llm_api_options=")]
    folder, _, file = path.rpartition("/")
    (mount,) = [each for each in engine["volumeMounts"] if each["mountPath"] == folder]
    (volume,) = [each for each in deployment.pod["spec"]["volumes"] if each["name"] == mount["name"]]
    options = one(objects, "ConfigMap", volume["configMap"]["name"])
    assert json.loads(options.body["data"][file])["kv_cache_config"]["enable_block_reuse"] is True


def test_other_options_of_tensorrt_llm_are_another_config_map() -> None:
    """So a change of them replaces the pods, one by one, and the pods that are left keep what they were started with."""
    first, second = (
        [each.name for each in with_inference(engine="tensorrt-llm", prefix_caching=on) if each.kind == "ConfigMap"]
        for on in (True, False)
    )
    assert set(first) ^ set(second)
    assert len(first) == len(second)


def test_vllm_needs_no_files() -> None:
    volumes = one(with_inference(), "Deployment", "qwen3-vl-webui").pod["spec"]["volumes"]
    assert "engine-files" not in {each["name"] for each in volumes}


@pytest.mark.parametrize(("replicas", "surge"), [(1, 1), (2, 0)])
def test_the_rollout_follows_the_gpus_that_are_left(replicas: int, surge: int) -> None:
    settings = stack_settings("prod")
    inference = settings.inference.model_copy(update={"replicas": replicas})
    fixed = settings.model_copy(update={"inference": inference, "autoscaling": Autoscaling(enabled=False)})
    strategy = one(manifests(graph(fixed)), "Deployment", "qwen3-vl-webui").spec["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": 1 - surge}


def test_a_longer_wait_is_what_up_waits() -> None:
    deployment = one(with_inference(await_seconds=7200), "Deployment", "qwen3-vl-webui")
    assert deployment.resource.create_timeout == "7200s"


@pytest.mark.parametrize("stack", STACKS)
def test_a_late_health_check_is_not_a_dead_engine(stack: str) -> None:
    """vLLM's /health takes more than a second at times under a load of images (vllm#34789)."""
    deployment = one(manifests(stack_graph(stack)), "Deployment", "qwen3-vl-webui")
    _, engine = deployment.pod["spec"]["initContainers"]
    for probe, least in (("livenessProbe", 120), ("readinessProbe", 60)):
        found = engine[probe]
        assert found["timeoutSeconds"] >= 10
        assert found["periodSeconds"] * found["failureThreshold"] >= least


@pytest.mark.parametrize("stack", STACKS)
def test_pods_and_agents_agree_on_the_one_revision_and_see_the_same_folder(stack: str) -> None:
    objects, store = manifests(stack_graph(stack)), stack_settings(stack).model_store
    (agent,) = one(objects, "DaemonSet", "model-cache").containers()
    deployment = one(objects, "Deployment", "qwen3-vl-webui")
    holder = next(each for each in deployment.containers() if each["name"] == "model")

    def pins(arguments: list[str]) -> set[str]:
        return {each for each in arguments if each.startswith(("--model=", "--revision=", "--manifest-sha256="))}

    assert pins(agent["args"]) == pins(holder["args"]) >= {f"--revision={store.revision}"}
    volumes = {each.name: each.spec for each in objects if each.kind == "PersistentVolume"}
    claims = {each.name: each.spec for each in objects if each.kind == "PersistentVolumeClaim"}
    assert volumes.keys() == claims.keys()
    for name, volume in volumes.items():
        assert claims[name]["volumeName"] == volume["claimRef"]["name"] == name
        assert claims[name]["accessModes"] == volume["accessModes"]
    (mounted,) = [each for each in deployment.pod["spec"]["volumes"] if each["name"] == "model-storage"]
    claim = mounted["persistentVolumeClaim"]
    assert claim["readOnly"] is True
    assert volumes[claim["claimName"]]["accessModes"] == ["ReadOnlyMany"]
    assert volumes[claim["claimName"]]["hostPath"]["path"] == store.cache_path
    assert all(
        mount["readOnly"]
        for each in deployment.containers()
        for mount in each["volumeMounts"]
        if "models" in mount["mountPath"]
    )


@pytest.mark.parametrize("stack", STACKS)
def test_replicas_wait_for_the_copies_and_the_copies_for_no_gpu(stack: str) -> None:
    graph = stack_graph(stack)
    (agents,) = [each for each in graph.of_type("kubernetes:apps/v1:DaemonSet") if each.name == "model-cache"]
    (replicas,) = graph.of_type("qwenvl:inference:ModelServer")
    (copies,) = graph.of_type("qwenvl:inference:ModelCache")
    (wait,) = graph.of_type("host:index:DaemonsReady")
    assert {agents.urn, wait.urn} <= replicas.dependencies
    assert agents.urn in wait.dependencies, "it waits for the DaemonSet of this run"
    # The engine's own wait would count dead workers too.
    assert agents.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    assert (wait.inputs["namespace"], wait.inputs["daemonSet"]) == (model_cache.NAMESPACE, model_cache.APP)
    planes = {node.name for node in stack_settings(stack).control_planes}
    assert {peer["node"] for peer in wait.inputs["peers"]} == planes
    assert not copies.dependencies, "nothing but the workers, which these layers are given"


def source_of(**store: Any) -> str:
    args = model_cache.ModelCacheArgs(
        store=ModelStore.model_validate(store),
        model="Qwen/Qwen3-VL-4B-Instruct",
        nfs_server="192.168.1.100",
        images=Images(),
        credential=None,
        control_planes=(),
    )
    (found,) = [each for each in model_cache.agent_arguments(args) if each.startswith("--source=")]
    return found.removeprefix("--source=")


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ({}, "nfs://192.168.1.100/exports/models"),
        ({"kind": "folder", "path": "/srv"}, "folder:///source"),
        ({"kind": "huggingface"}, "hub+https://huggingface.co"),
        ({"kind": "huggingface", "endpoint": "http://10.0.0.5:8090"}, "hub+http://10.0.0.5:8090"),
        (
            {"kind": "s3", "endpoint": "https://s3.example.com", "bucket": "models/qwen", "region": "eu-1"},
            "s3+https://s3.example.com/models/qwen?region=eu-1",
        ),
    ],
)
def test_every_kind_of_store_is_one_the_agent_knows(store: dict[str, Any], url: str) -> None:
    assert source_of(**store) == url
    open_source(url, "Qwen/Qwen3-VL-4B-Instruct", "a" * 40, None, 30)


def test_an_export_without_a_server_is_an_error() -> None:
    with pytest.raises(pulumi.RunError, match="needs a server"):
        model_cache.source_url(ModelStore(), None)
