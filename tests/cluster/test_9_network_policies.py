"""What network policies hold back on the nodes, and what they let through."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components.field_manager import FIELD_MANAGER
from tests.cluster.test_8_replicas import users
from tests.cluster.test_b_model_store import KUBECTL, kubectl
from tests.support.lab import Lab
from tests.support.stack import Stack
from tools import ask

STRANGER = "stranger"
PATIENCE_SECONDS = 180  # for rules that follow a change in the cluster, on a busy machine
# In a container's own Python. Prints `open` if a connection is made, `refused` if it is rejected, else the error's name.
DIAL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()
    print("open")
except OSError as error:
    print("refused" if isinstance(error, ConnectionRefusedError) else type(error).__name__)
"""
LOOK_UP = """
import socket, sys
try:
    print(socket.gethostbyname(sys.argv[1]))
except OSError:
    print("unknown")
"""


def pods(lab: Lab, app: str, namespace: str = "default") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl(lab, f"-n {namespace} get pods -l app={app} -o json"))["items"]
    return [each for each in found if not each["metadata"].get("deletionTimestamp") and each["status"].get("podIP")]


def address(lab: Lab, app: str, namespace: str = "default") -> str:
    return str(pods(lab, app, namespace)[0]["status"]["podIP"])


def python(lab: Lab, pod: str, container: str, program: str, *words: str) -> str:
    """What a program says that runs in a container in `default`."""
    text = base64.b64encode(program.encode()).decode()
    said = " ".join(words)
    command = f'-n default exec {pod} -c {container} -- python -c "$(echo {text} | base64 -d)" {said}'
    return kubectl(lab, command).strip()


def closed(lab: Lab, pod: str, where: str, port: int) -> bool:
    return python(lab, pod, pod, DIAL, where, str(port)) != "open"


def eventually(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not {what} after {PATIENCE_SECONDS} s"
        time.sleep(1)


def restricted(image: str) -> dict[str, Any]:
    """A pod that Pod Security's `restricted` lets in, and that only sleeps."""
    container = {
        "name": STRANGER,
        "image": image,
        "command": ["python", "-c", "import time; time.sleep(100000)"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"containers": [container], "securityContext": security}


@pytest.fixture(scope="module")
def stranger(fresh_stack: Stack, lab: Lab) -> Iterator[str]:
    """A pod in `default` that is none of ours: the web UI's image without its labels."""
    image = pods(lab, "qwen3-vl-webui")[0]["spec"]["containers"][0]["image"]
    away = f"-n default delete pod {STRANGER} --ignore-not-found --now"
    kubectl(lab, away)
    overrides = json.dumps({"apiVersion": "v1", "spec": restricted(image)})
    kubectl(lab, f"-n default run {STRANGER} --image {image} --overrides '{overrides}'")
    try:
        kubectl(lab, f"-n default wait pod {STRANGER} --for condition=Ready --timeout 100s")
        eventually(lambda: closed(lab, STRANGER, address(lab, "redis"), 6379), "held back")
        yield STRANGER
    finally:
        kubectl(lab, away)


def test_the_agent_runs_on_every_node(stack: Stack, lab: Lab) -> None:
    nodes = {node["name"] for node in stack.setting("nodes") if node["role"] != "storage"}
    found = pods(lab, "kube-router", "kube-system")
    assert {pod["spec"]["nodeName"] for pod in found} == nodes
    assert all(status["ready"] for pod in found for status in pod["status"]["containerStatuses"])


def test_a_stranger_reaches_nobody(stack: Stack, lab: Lab, stranger: str) -> None:
    """Nor is told a name: that is for those who need it."""
    targets = {
        "web UI": (address(lab, "qwen3-vl-webui"), 7860),
        "engine": (address(lab, "qwen3-vl-webui"), 8000),
        "Redis": (address(lab, "redis"), 6379),
        "Redis by its Service": (kubectl(lab, "-n default get service redis -o jsonpath='{.spec.clusterIP}'"), 6379),
        "Prometheus": (address(lab, "prometheus", "observability"), 9090),
    }
    assert [what for what, where in targets.items() if not closed(lab, stranger, *where)] == []
    assert python(lab, stranger, stranger, LOOK_UP, "redis.default.svc.cluster.local") == "unknown"


def test_a_question_is_answered_through_the_gateway(stack: Stack) -> None:
    answer = ask.ask(ask.Service.of(stack.outputs()), "What colour is this?")
    assert "64" in answer, answer


def test_the_web_uis_pod_reaches_its_redis_and_nothing_else(stack: Stack, lab: Lab) -> None:
    """What an address in a request could be made to reach: the API, nodes, a machine's metadata, other pods, other machines."""
    pod = pods(lab, "qwen3-vl-webui")[0]
    name, here = pod["metadata"]["name"], pod["status"]["hostIP"]
    elsewhere = next(str(node["address"]) for node in stack.setting("nodes") if str(node["address"]) != here)
    forbidden = {
        "API": ("kubernetes.default.svc.cluster.local", 443),
        "kubelet of its own node": (here, 10250),
        "SSH of its own node": (here, 22),
        "kubelet of another node": (elsewhere, 10250),
        "metadata": ("169.254.169.254", 80),
        "Redis without the proxy": (address(lab, "redis"), 6379),
        "Traefik": (address(lab, "traefik", "traefik"), 8000),
        "agent of the model": (address(lab, "model-cache"), 7870),
        "a machine outside the cluster": ("10.77.0.1", 5000),
    }
    seen = {what: python(lab, name, "webui", DIAL, where, str(port)) for what, (where, port) in forbidden.items()}
    assert [what for what, said in seen.items() if said == "open"] == []
    assert seen["kubelet of its own node"] == "refused"  # rejected by a rule: something listens there
    assert python(lab, name, "webui", DIAL, "redis.default.svc.cluster.local", "6379") == "open"


def test_without_policies_the_same_pod_is_open(stack: Stack, lab: Lab, stranger: str) -> None:
    """So it is they that hold back. The next `up` has nothing to do: they are put back as they were."""
    names = "default-deny qwen3-vl-webui"
    where = address(lab, "qwen3-vl-webui")
    kept = json.loads(kubectl(lab, f"-n default get networkpolicy {names} -o json"))
    for policy in kept["items"]:
        policy["metadata"] = {key: policy["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    text = base64.b64encode(json.dumps(kept).encode()).decode()
    assert closed(lab, stranger, where, 7860)
    try:
        kubectl(lab, f"-n default delete networkpolicy {names}")
        eventually(lambda: not closed(lab, stranger, where, 7860), "open")
    finally:
        put = f"{KUBECTL} apply --server-side --field-manager {FIELD_MANAGER} -f -"
        lab.shell("master-1", f"echo {text} | base64 -d | {put}")
    eventually(lambda: closed(lab, stranger, where, 7860), "closed again")


def test_a_restarted_agent_opens_and_cuts_nothing(stack: Stack, lab: Lab, stranger: str) -> None:
    where = address(lab, "redis")
    with users(stack)[0] as user:
        kubectl(lab, "-n kube-system delete pods -l app=kube-router --wait=false")
        meanwhile = [closed(lab, stranger, where, 6379) for _ in range(10)]
        kubectl(lab, "-n kube-system rollout status daemonset/kube-router --timeout 100s")
        user.wait_for_answer_after(time.monotonic(), 60)
    assert all(meanwhile)
    assert user.failures == []
    assert closed(lab, stranger, where, 6379)


@pytest.mark.chaos
def test_a_restarted_node_has_its_rules_again(stack: Stack, lab: Lab, stranger: str) -> None:
    node = pods(lab, "qwen3-vl-webui")[0]["spec"]["nodeName"]
    lab.run("kill", node)
    lab.run("start", node)
    kubectl(lab, f"wait node {node} --for condition=Ready --timeout 110s")
    kubectl(lab, "-n kube-system rollout status daemonset/kube-router --timeout 110s")
    kubectl(lab, "-n default rollout status deployment/qwen3-vl-webui --timeout 300s", seconds=330)
    kubectl(lab, f"-n default wait pod {stranger} --for condition=Ready --timeout 110s")
    for pod in pods(lab, "qwen3-vl-webui"):
        ip = str(pod["status"]["podIP"])
        eventually(lambda ip=ip: closed(lab, stranger, ip, 7860), "closed again")  # type: ignore[misc]
