"""The NFS server goes while copies are filled, while they serve and while pods restart: users notice nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.lab import Lab
from tests.support.probe import Probe
from tests.support.stack import Stack
from tools import ask

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
FOLDER = "Qwen3-VL-4B-Instruct"


def kubectl(lab: Lab, words: str, *, seconds: float = 120, check: bool = True) -> str:
    return lab.shell("master-1", f"{KUBECTL} {words}", seconds=seconds, check=check)


def workers(stack: Stack) -> list[str]:
    return [node["name"] for node in stack.setting("nodes") if node["role"] == "worker"]


def storage(stack: Stack) -> str:
    return str(next(node["name"] for node in stack.setting("nodes") if node["role"] == "storage"))


def copy_of(stack: Stack, revision: str) -> str:
    cache = stack.setting("modelStore").get("cachePath", "/var/lib/qwen3-vl/models")
    return f"{cache}/revisions/{revision}/{FOLDER}"


def revision(stack: Stack) -> str:
    return str(stack.setting("modelStore").get("revision", "r1"))


def agents(lab: Lab) -> dict[str, str]:
    """Node -> name of its agent's pod."""
    found = json.loads(kubectl(lab, "get pods -l app=model-cache -o json"))["items"]
    return {
        pod["spec"]["nodeName"]: pod["metadata"]["name"]
        for pod in found
        if not pod["metadata"].get("deletionTimestamp")
    }


def metrics(lab: Lab, node: str) -> dict[str, float]:
    """An agent's numbers, asked from the node itself."""
    address = kubectl(lab, f"get pod {agents(lab)[node]} -o jsonpath='{{.status.podIP}}'").strip()
    text = lab.shell(node, f"curl -sf -m 10 http://{address}:7870/metrics")
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def whole(lab: Lab, stack: Stack, seconds: int = 300) -> None:
    for what in ("daemonset/model-cache", "deployment/qwen3-vl-webui"):
        kubectl(lab, f"rollout status {what} --timeout {seconds}s", seconds=seconds + 30)
    for node in workers(stack):
        lab.shell(node, f"cd {copy_of(stack, revision(stack))} && sha256sum --quiet -c SHA256SUMS", seconds=300)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not {what} after {seconds:.0f} s"
        time.sleep(1)


@contextmanager
def server_gone(lab: Lab, stack: Stack, how: str) -> Iterator[None]:
    """`stopped`: it answers nobody any more and keeps every connection; `killed`: it is not there, nor restarted."""
    node = storage(stack)
    if how == "stopped":
        lab.shell(node, "pkill -STOP -x ganesha.nfsd")
        back = "pkill -CONT -x ganesha.nfsd"
    else:
        lab.shell(node, "systemctl mask --runtime --quiet nfs-ganesha; pkill -KILL -x ganesha.nfsd; sleep 1")
        back = "systemctl unmask --runtime --quiet nfs-ganesha; systemctl restart nfs-ganesha"
    try:
        yield
    finally:
        lab.shell(node, back)


def chat(stack: Stack) -> Callable[[], str]:
    outputs = stack.outputs()
    return lambda: ask.ask(ask.Service.of(outputs), "Still there?")


def kubelets_ready(lab: Lab, stack: Stack) -> bool:
    nodes: list[dict[str, Any]] = json.loads(kubectl(lab, "get nodes -o json"))["items"]
    ready = {
        node["metadata"]["name"]: condition["status"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }
    alive = all(
        lab.shell(n, "curl -sf -m 5 http://127.0.0.1:10248/healthz", check=False) == "ok" for n in workers(stack)
    )
    return alive and all(ready[name] == "True" for name in workers(stack))


def test_every_worker_has_a_whole_copy_and_nothing_is_mounted_from_elsewhere(stack: Stack, lab: Lab) -> None:
    whole(lab, stack)
    for node in workers(stack):
        assert lab.shell(node, "grep -c ' nfs' /proc/mounts || true").strip() == "0"
        assert "/models" in lab.shell(node, "cat /proc/*/mountinfo 2>/dev/null | grep -m1 ' /models ro'")
    pod = kubectl(lab, "get pods -l app=qwen3-vl-webui -o jsonpath='{.items[0].metadata.name}'").strip()
    model = f"/models/{FOLDER}"
    assert "config.json" in kubectl(lab, f"exec {pod} -c engine -- ls {model}")
    assert kubectl(lab, f"exec {pod} -c engine -- touch {model}/x 2>&1 || true").strip().endswith("exit code 1")


def test_each_byte_left_the_storage_node_at_most_twice(stack: Stack, lab: Lab) -> None:
    """Copies removed and filled anew by both workers at once."""
    whole(lab, stack)
    refill(lab, stack)
    whole(lab, stack)
    size = int(lab.shell(workers(stack)[0], f"du -sb {copy_of(stack, revision(stack))}").split()[0])
    read = sum(metrics(lab, node)['model_cache_received_bytes_total{origin="source"}'] for node in workers(stack))
    print(f"{read / size:.2f} times the model's bytes read from the storage node by {len(workers(stack))} workers")
    assert 0.9 * size < read <= 2 * size


def refill(lab: Lab, stack: Stack) -> None:
    """Lose every copy and start the agents anew; pods keep the files they have open."""
    cache = copy_of(stack, revision(stack)).partition("/revisions/")[0]
    for node in workers(stack):
        lab.shell(node, f"rm -rf {cache}/revisions/* {cache}/incoming/*")
    kubectl(lab, "delete pods -l app=model-cache --grace-period=1")


@pytest.mark.parametrize("how", [pytest.param("stopped", marks=pytest.mark.chaos), "killed"])
def test_a_server_that_goes_during_a_fill_delays_only_the_fill(stack: Stack, lab: Lab, how: str) -> None:
    whole(lab, stack)
    with Probe(chat(stack), interval=0.5) as chats:
        with server_gone(lab, stack, how):
            refill(lab, stack)
            wait_for(lambda: set(agents(lab)) == set(workers(stack)), "agents running")
            kubectl(
                lab, "wait pod -l app=model-cache --for=jsonpath='{.status.phase}'=Running --timeout=120s", seconds=150
            )
            # Longer than an agent waits for a byte: each has asked, given up and asked again.
            wait_for(
                lambda: any(
                    metrics(lab, n)['model_cache_failures_total{origin="source"}'] >= 1 for n in workers(stack)
                ),
                "given up",
            )
            assert all(metrics(lab, n)["model_cache_bytes"] == 0 for n in workers(stack))
            assert kubelets_ready(lab, stack)
        whole(lab, stack)
    assert chats.failures == []
    assert len(chats.answered) > 20


@pytest.mark.parametrize("how", [pytest.param("stopped", marks=pytest.mark.chaos), "killed"])
def test_with_the_server_gone_pods_restart_and_no_request_fails(stack: Stack, lab: Lab, how: str) -> None:
    whole(lab, stack)
    with Probe(chat(stack), interval=0.5) as chats:
        with server_gone(lab, stack, how):
            time.sleep(5)
            victim = kubectl(lab, "get pods -l app=qwen3-vl-webui -o name").splitlines()[0]
            kubectl(lab, f"delete {victim} --wait=false")
            kubectl(lab, "delete pods -l app=model-cache --wait=false")
            kubectl(lab, "rollout status deployment/qwen3-vl-webui --timeout 180s", seconds=210)
            kubectl(lab, "rollout status daemonset/model-cache --timeout 180s", seconds=210)
            assert kubelets_ready(lab, stack)
            preview = stack.preview("--expect-no-changes")
        whole(lab, stack)
    assert chats.failures == []
    assert len(chats.answered) > 20
    # What is stopped by hand is drift of the storage node, and of nothing else.
    assert set(preview.changes()) <= {f"{storage(stack)}-nfs"}


def test_the_export_is_for_the_workers_only(stack: Stack, lab: Lab) -> None:
    address = next(node["address"] for node in stack.setting("nodes") if node["name"] == storage(stack))
    export = stack.setting("modelStore").get("path", "/exports/models")
    lab.shell("master-1", "apt-get install -y -qq --no-install-recommends libnfs-utils >/dev/null 2>&1", seconds=300)
    # The storage node's packet filter lets such a one wait for ever.
    stranger = lab.shell("master-1", f"timeout 15 nfs-ls 'nfs://{address}{export}?version=4' 2>&1", check=False)
    assert FOLDER not in stranger, stranger
    for node in workers(stack)[:1]:
        lab.shell(node, "apt-get install -y -qq --no-install-recommends libnfs-utils >/dev/null 2>&1", seconds=300)
        assert FOLDER in lab.shell(node, f"nfs-ls 'nfs://{address}{export}?version=4'")
        refused = lab.shell(
            node, f"nfs-cp /etc/hostname 'nfs://{address}{export}/written?version=4' 2>&1 || echo refused", check=False
        )
        assert "refused" in refused, refused
    listing = lab.shell(storage(stack), f"ls {export}; find {export} -perm /002 -not -type l")
    assert "written" not in listing
    assert "/" not in listing, "nothing may be written by everybody"
