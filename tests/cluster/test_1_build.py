"""From bare nodes to an answered chat, and nothing to do the second time."""

from __future__ import annotations

import json
import subprocess
import time

from tests.support.lab import ROOT, Lab
from tests.support.stack import Stack
from tools import ask


def kubectl(lab: Lab, *words: str) -> str:
    return lab.shell("master-1", "kubectl --kubeconfig /etc/kubernetes/admin.conf " + " ".join(words))


def test_every_node_is_ready_and_every_control_plane_has_its_etcd_member(stack: Stack, lab: Lab) -> None:
    members = {node["name"] for node in stack.setting("nodes") if node["role"] != "storage"}
    # the last to join turns Ready when its Flannel pod runs, seconds after kubeadm is done
    kubectl(lab, "wait node --all --for=condition=Ready --timeout=60s")
    nodes = json.loads(kubectl(lab, "get nodes -o json"))["items"]
    assert {node["metadata"]["name"] for node in nodes} == members
    # and its static pods are reported ready a probe or two after that
    kubectl(lab, "-n kube-system wait pod -l tier=control-plane --for=condition=Ready --timeout=60s")
    etcd = json.loads(kubectl(lab, "-n kube-system get pods -l component=etcd -o json"))["items"]
    assert len(etcd) == 3
    assert all(c["ready"] for pod in etcd for c in pod["status"]["containerStatuses"])


def test_cluster_dns_does_not_end_with_one_node(stack: Stack, lab: Lab) -> None:
    pods = json.loads(kubectl(lab, "-n kube-system get pods -l k8s-app=kube-dns -o json"))["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods) == 2


def test_a_question_with_an_image_is_answered_through_the_load_balancer(stack: Stack) -> None:
    outputs = stack.outputs()
    answer = ask.ask(ask.Service.of(outputs), "What colour is this?")
    assert "64" in answer, answer
    assert "48" in answer, answer


def test_preview_after_up_expects_no_changes_and_contacts_every_node(stack: Stack, lab: Lab) -> None:
    names = [node["name"] for node in stack.setting("nodes")]
    before = {name: logins(lab, name) for name in names}
    preview = stack.preview("--expect-no-changes").ok()
    assert preview.changes() == {}
    after = {name: logins(lab, name) for name in names}
    # one log-in is this test's own look at the journal
    assert {name: after[name] - before[name] - 1 for name in names} == dict.fromkeys(names, 1)


def logins(lab: Lab, node: str) -> int:
    return int(lab.shell(node, "journalctl -u ssh -o cat --no-pager | grep -c 'Accepted publickey' || true").strip())


def test_a_second_make_up_changes_nothing_and_takes_well_under_a_minute(stack: Stack) -> None:
    started = time.monotonic()
    done = subprocess.run(["make", "-s", "up"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "unchanged" in done.stdout
    assert not [word for word in (" created", " updated", " deleted", " replaced") if word in done.stdout], done.stdout[
        -3000:
    ]
    assert seconds < 60


def test_the_kubeconfig_output_is_secret(stack: Stack) -> None:
    assert stack.outputs()["kubeconfig"] == "[secret]"
    assert "client-key-data" in stack.outputs("--show-secrets")["kubeconfig"]
