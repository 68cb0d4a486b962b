"""The driver of the GPU workers: drift is named and mended, an exchange moves the pods away and back, failures say one thing.

NVIDIA's packages are the lab's stand-ins; apt, dpkg, containerd, the kubelet and the scheduler are real.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.test_1_build import kubectl
from tests.support.lab import Lab
from tests.support.stack import Stack

VERSION, OLDER, NEWER = "580.95.05", "570.124.06", "580.105.08"
NAMES = ("libcuda1", "libnvidia-ml1", "nvidia-driver-cuda", "nvidia-kernel-open-dkms")
LOADED = "/run/nvidia-stand-in/loaded"


def install_by_hand(lab: Lab, node: str, version: str) -> None:
    wanted = " ".join(f"{name}={version}-1" for name in NAMES)
    lab.shell(node, f"apt-get install -y -q --allow-downgrades --allow-change-held-packages {wanted}")


def smi(lab: Lab, node: str) -> str:
    return lab.shell(node, "nvidia-smi --query-gpu=driver_version,uuid --format=csv,noheader", check=False)


def replicas_serve(lab: Lab, wanted: int = 2, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while True:
        status = json.loads(kubectl(lab, "get deployment qwen3-vl-webui -o json"))["status"]
        if status.get("readyReplicas", 0) >= wanted:
            return
        assert time.monotonic() < end, status
        time.sleep(2)


def test_every_gpu_worker_has_its_driver_and_containerd_its_runtime(stack: Stack, lab: Lab) -> None:
    for node in ("gpu-1", "gpu-2"):
        assert smi(lab, node).startswith(f"{VERSION}, GPU-")
        held = lab.shell(node, "apt-mark showhold").split()
        assert {*NAMES, "nvidia-container-toolkit-base"} <= set(held)
        dumped = lab.shell(node, "containerd config dump")
        assert 'BinaryName = "/usr/bin/nvidia-container-runtime"' in dumped
        assert "pause:3.10.1" in dumped, "the drop-in must not take the rest of the section away"
        amount = kubectl(lab, f"get node {node} -o 'jsonpath={{.status.allocatable.nvidia\\.com/gpu}}'")
        assert amount == "1"
    assert "nvidia-smi" not in lab.shell("master-1", "ls /usr/bin")


def test_pods_with_a_gpu_run_under_nvidias_runtime(stack: Stack, lab: Lab) -> None:
    pods = json.loads(kubectl(lab, "get pods -A -o json"))["items"]
    under = {pod["metadata"]["labels"]["app"] for pod in pods if pod["spec"].get("runtimeClassName") == "nvidia"}
    assert under == {"qwen3-vl-webui", "nvidia-device-plugin", "dcgm-exporter"}


def test_gpu_metrics_are_there_to_be_scraped(stack: Stack, lab: Lab) -> None:
    kubectl(lab, "-n kube-system rollout status daemonset dcgm-exporter --timeout=120s")
    pod = json.loads(kubectl(lab, "-n kube-system get pods -l app=dcgm-exporter -o json"))["items"][0]
    # From its own node: no policy lets the API server in.
    answer = lab.shell(pod["spec"]["nodeName"], f"curl -sf -m 10 http://{pod['status']['podIP']}:9400/metrics")
    assert 'DCGM_FI_DEV_XID_ERRORS{gpu="0"' in answer


@pytest.mark.chaos
def test_packages_put_to_another_version_by_hand_are_named_and_mended(stack: Stack, lab: Lab) -> None:
    install_by_hand(lab, "gpu-1", OLDER)
    preview = stack.preview().ok()
    assert preview.changes() == {"gpu-1-gpu": "update"}
    told = "\n".join(preview.messages)
    for name in NAMES:
        assert f"gpu-1: drifted: package {name} ({OLDER}-1, wanted {VERSION}-1)" in told
    assert "libraries are 570.124: upgraded without a restart" in told
    up = stack.up().ok()
    assert up.changes() == {"gpu-1-gpu": "update"}
    assert smi(lab, "gpu-1").startswith(VERSION)
    assert stack.preview("--expect-no-changes").ok().changes() == {}


@pytest.mark.chaos
def test_a_driver_is_exchanged_on_an_emptied_node_that_comes_back(stack: Stack, lab: Lab) -> None:
    """As after an upgrade at night and a restart: the newer module is loaded and has to go."""
    install_by_hand(lab, "gpu-1", NEWER)
    lab.shell("gpu-1", f"rm {LOADED} && modprobe nvidia")
    assert smi(lab, "gpu-1").startswith(NEWER)
    before = kubectl(lab, "get pods -l app=qwen3-vl-webui -o name --field-selector spec.nodeName=gpu-1")
    up = stack.up().ok()
    assert up.changes() == {"gpu-1-gpu": "update"}
    assert smi(lab, "gpu-1").startswith(VERSION)
    node = json.loads(kubectl(lab, "get node gpu-1 -o json"))
    assert not node["spec"].get("unschedulable")
    assert "qwen3-vl/vacated" not in node["metadata"].get("annotations", {})
    assert kubectl(lab, "-n kube-system get configmap qwen3-vl-gpu-maintenance --ignore-not-found") == ""
    replicas_serve(lab)
    after = kubectl(lab, "get pods -l app=qwen3-vl-webui -o name --field-selector spec.nodeName=gpu-1")
    assert before != after, "the pod was moved away, not pulled out of its GPU"
    assert stack.preview("--expect-no-changes").ok().changes() == {}


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ("secure-boot", "the kernel refuses the driver's module: Secure Boot is on and the key it is signed with"),
        ("build-fails", f"the driver's module {VERSION} cannot be built for kernel"),
    ],
)
def test_a_driver_that_cannot_be_loaded_says_why_and_the_next_run_mends_it(
    stack: Stack, lab: Lab, switch: str, said: str
) -> None:
    lab.shell("gpu-2", f"mkdir -p /etc/nvidia-stand-in && touch /etc/nvidia-stand-in/{switch}")
    lab.shell("gpu-2", f"rm -f {LOADED}; rm -rf /var/lib/dkms/nvidia")
    failed = stack.up()
    assert failed.code != 0
    assert said in failed.text
    lab.shell("gpu-2", f"rm /etc/nvidia-stand-in/{switch}")
    stack.up().ok()
    assert smi(lab, "gpu-2").startswith(VERSION)
    replicas_serve(lab)
    assert stack.preview("--expect-no-changes").ok().changes() == {}


def test_a_gpu_that_is_lost_is_told_and_holds_up_nothing(stack: Stack, lab: Lab) -> None:
    lab.shell("gpu-2", "echo '1 1' >/run/cdi/qwenvl-lab-gpus")
    end = time.monotonic() + 60
    while kubectl(lab, "get node gpu-2 -o 'jsonpath={.status.allocatable.nvidia\\.com/gpu}'") != "0":
        assert time.monotonic() < end
        time.sleep(1)
    preview = stack.preview().ok()
    assert preview.changes() == {}
    assert "gpu-2: nvidia.com/gpu: 0, wanted 1; pods that need it do not run there." in "\n".join(preview.messages)
    lab.shell("gpu-2", "echo 1 >/run/cdi/qwenvl-lab-gpus")
    replicas_serve(lab)


SICK = {"key": "nvidia.com/gpu-unhealthy", "effect": "NoSchedule"}


def taints(lab: Lab, node: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl(lab, f"get node {node} -o json"))["spec"].get("taints", [])
    return found


def wait_for_taints(lab: Lab, node: str, wanted: list[dict[str, Any]], seconds: float) -> None:
    """A minute of patience, a look each 15 s, and the time that kubelet and controller are late on a busy machine."""
    end = time.monotonic() + seconds
    while taints(lab, node) != wanted:
        assert time.monotonic() < end, kubectl(lab, "-n kube-system logs deployment/gpu-health --tail=50")
        time.sleep(2)


def logged(lab: Lab) -> list[dict[str, Any]]:
    lines = kubectl(lab, "-n kube-system logs deployment/gpu-health").splitlines()
    return [json.loads(line) for line in lines]


def well(lab: Lab) -> None:
    for node in ("gpu-1", "gpu-2"):
        lab.shell(node, "echo 1 >/run/cdi/qwenvl-lab-gpus")


@pytest.fixture
def tainting(stack: Stack, lab: Lab) -> Iterator[Stack]:
    """The stack with `gpu.taintSickNodes`; afterwards as it was, also after a failure."""
    other = copy.deepcopy(stack)
    other.config["config"].setdefault("qwen3-vl:gpu", {})["taintSickNodes"] = True
    assert set(other.up().ok().changes().values()) == {"create"}
    yield other
    well(lab)
    assert set(stack.up().ok().changes().values()) == {"delete"}
    kubectl(lab, f"taint nodes gpu-1 gpu-2 {SICK['key']}:{SICK['effect']}- || true")
    assert stack.preview("--expect-no-changes").ok().changes() == {}


@pytest.mark.chaos
def test_a_node_with_a_sick_gpu_is_closed_to_new_pods_where_that_is_asked_for(tainting: Stack, lab: Lab) -> None:
    may = "auth can-i --as=system:serviceaccount:kube-system:gpu-health"
    assert kubectl(lab, f"{may} patch node/gpu-2").split()[0] == "yes"
    for more in ("patch node/master-1", "list nodes", "delete node/gpu-2", "get secrets -A"):
        assert kubectl(lab, f"{may} {more} || true").split()[0] == "no", more

    lab.shell("gpu-2", "echo '1 1' >/run/cdi/qwenvl-lab-gpus")
    wait_for_taints(lab, "gpu-2", [SICK], 240)
    assert taints(lab, "gpu-1") == []
    assert tainting.up().ok().changes() == {}, "`up` neither takes the taint away nor waits for the node"
    assert taints(lab, "gpu-2") == [SICK]

    lab.shell("gpu-1", "echo '1 1' >/run/cdi/qwenvl-lab-gpus")
    end = time.monotonic() + 240
    while not any(line["message"] == "short of GPUs, not tainted" for line in logged(lab)):
        assert time.monotonic() < end, logged(lab)
        time.sleep(2)
    assert taints(lab, "gpu-1") == [], "the last node stays open"

    well(lab)
    wait_for_taints(lab, "gpu-2", [], 240)
    assert [line["node"] for line in logged(lab) if line["message"].startswith("taint")] == ["gpu-2", "gpu-2"]
    replicas_serve(lab)
