"""Backups of etcd and certificates on the lab: saved on every control plane, kept elsewhere, the whole cluster taken back."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.versions import PAUSE_IMAGE
from tests.cluster.test_1_build import kubectl
from tests.cluster.test_4_failover import control_planes, wait_until_control_planes_work
from tests.support.lab import ROOT, Lab
from tests.support.probe import Probe
from tests.support.stack import Stack
from tools import ask

OWN, RECEIVED = "/var/lib/qwen3-vl-backups/own", "/var/lib/qwen3-vl-backups/received"
PROGRAM = "/usr/local/sbin/etcd-backup"


def tool(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.restore_etcd", *words]
    return subprocess.run(command, cwd=ROOT, env=stack.environment(), capture_output=True, text=True, timeout=1800)


def names(lab: Lab, node: str, folder: str) -> list[str]:
    return lab.shell(node, f"ls {folder} 2>/dev/null || true").split()


def members(lab: Lab, node: str) -> list[str]:
    """Names of the started members, as one node's etcd has them."""
    pki = "/etc/kubernetes/pki/etcd"
    etcdctl = f"etcdctl --cacert {pki}/ca.crt --cert {pki}/server.crt --key {pki}/server.key"
    said = kubectl(lab, f"-n kube-system exec etcd-{node} -c etcd -- {etcdctl} member list")
    return sorted(line.split(", ")[2] for line in said.splitlines() if ", started, " in line)


def test_up_has_saved_every_control_plane_and_the_timer_goes_on(stack: Stack, lab: Lab) -> None:
    for node in control_planes(stack):
        assert names(lab, node, OWN), node
        assert lab.shell(node, "systemctl is-active etcd-backup.timer").strip() == "active"
        assert lab.shell(node, "systemctl is-enabled etcd-backup.timer").strip() == "enabled"


def test_a_backup_goes_to_every_keeper_by_the_timers_own_unit(stack: Stack, lab: Lab) -> None:
    lab.shell("master-1", f"rm -f {OWN}/etcd-*.cms; systemctl start etcd-backup.service", seconds=900)
    (name,) = names(lab, "master-1", OWN)
    for keeper in ("master-2", "master-3", "storage-1"):
        assert name in names(lab, keeper, RECEIVED), keeper
    digests = {lab.shell(node, f"sha256sum <{RECEIVED}/{name}") for node in ("master-2", "storage-1")}
    assert digests == {lab.shell("master-1", f"sha256sum <{OWN}/{name}")}
    listed = tool(stack, "--list").stdout
    assert f"{name}  master-1 master-2 master-3 storage-1\n" in listed


def test_the_login_of_control_planes_opens_nothing_else(lab: Lab) -> None:
    config = "/etc/qwen3-vl/backup"
    options = f"-o BatchMode=yes -o UserKnownHostsFile={config}/known_hosts -o HostKeyAlias=storage-1"
    said = lab.shell(
        "master-1",
        f"ssh -F none -i {config}/login.pem {options} $(awk '$1 == \"storage-1\" {{ print $2 }}' {config}/keepers) id 2>&1",
        check=False,
    )
    assert "only backups of etcd are taken here" in said
    assert "uid=" not in said


@pytest.mark.chaos
def test_a_control_plane_that_is_not_saved_is_named_and_saved(stack: Stack, lab: Lab) -> None:
    lab.shell("master-3", f"touch -d '20 hours ago' {OWN}/etcd-*.cms")
    preview = stack.preview().ok()
    assert preview.changes() == {"master-3-member": "update"}
    assert [line for line in preview.messages if "etcd was saved 20 h ago" in line]
    assert stack.up().ok().changes() == {"master-3-member": "update"}
    assert stack.preview("--expect-no-changes").ok().changes() == {}


@pytest.mark.chaos
def test_the_cluster_goes_back_to_a_backup_while_chats_are_answered(stack: Stack, lab: Lab, tmp_path: Path) -> None:
    """On all three at once; what was made later is gone, and nobody who chats notices."""
    before, after = f"before-{secrets.token_hex(4)}", f"after-{secrets.token_hex(4)}"
    wait_until_control_planes_work(lab, stack)
    kubectl(lab, f"create configmap {before} --from-literal=is=kept")
    kubectl(lab, f"create secret generic {before} --from-literal=is=readable")
    lab.shell("master-2", f"{PROGRAM} now", seconds=900)
    name = max(names(lab, "master-2", OWN))
    kubectl(lab, f"create configmap {after} --from-literal=is=lost")
    kubectl(lab, f"delete configmap {before}")

    key = tmp_path / "key.pem"
    key.write_text(stack.outputs("--show-secrets")["backupKey"])
    outputs = stack.outputs()

    def chat() -> str:
        return ask.ask(ask.Service.of(outputs), "Still there?")

    with Probe(chat, interval=1.0, lanes=4) as chats:
        time.sleep(3)
        started = time.monotonic()
        done = tool(stack, name, "--key", str(key), "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        took = time.monotonic() - started
        wait_until_control_planes_work(lab, stack)
        time.sleep(5)
    print(f"restored in {took:.0f} s, {len(chats.answered)} chats answered, longest gap {chats.longest_gap():.1f} s")
    assert chats.failures == []
    found = kubectl(lab, "get configmap -o name").split()
    assert f"configmap/{before}" in found
    assert f"configmap/{after}" not in found
    assert kubectl(lab, f"get secret {before} -o jsonpath={{.data.is}}").strip() == "cmVhZGFibGU="
    for node in control_planes(stack):
        assert members(lab, node) == sorted(control_planes(stack)), node
    # Controllers act on what they see now, not on what they saw before. A namespace that asks nothing of pods.
    kubectl(lab, f"-n kube-public create deployment {after} --image={PAUSE_IMAGE} --replicas=1")
    for waited in (
        f"-n kube-public rollout status deployment/{after} --timeout=300s",
        "wait --for=condition=Ready node --all --timeout=300s",
    ):
        lab.shell("master-1", f"kubectl --kubeconfig /etc/kubernetes/admin.conf {waited}", seconds=400)
    kubectl(lab, f"-n kube-public delete deployment/{after}")
    kubectl(lab, f"delete configmap/{before} secret/{before}")


@pytest.mark.chaos
def test_certificates_near_their_end_are_named_and_renewed_by_up(stack: Stack, lab: Lab) -> None:
    """A hundred days are left of them: kubeadm's own renewal with a shorter life, then the program's."""
    short = (
        "sed '/^kind: ClusterConfiguration/a certificateValidityPeriod: 2400h' /etc/kubeadm/init.yaml >/tmp/short.yaml"
    )
    lab.shell("master-2", f"{short} && kubeadm certs renew apiserver --config /tmp/short.yaml")
    preview = stack.preview().ok()
    assert preview.changes() == {"master-2-member": "update"}
    assert [line for line in preview.messages if re.search(r"pki/apiserver.crt ends in (99|100) days", line)]
    before = lab.shell("master-2", "pgrep -f '^kube-apiserver '")
    assert stack.up().ok().changes() == {"master-2-member": "update"}
    assert lab.shell("master-2", "pgrep -f '^kube-apiserver '") != before
    served = lab.shell(
        "master-2",
        "openssl s_client -connect 127.0.0.1:6443 </dev/null 2>/dev/null | openssl x509 -noout -checkend 25920000",
        check=False,
    )
    assert "will not expire" in served
    assert stack.preview("--expect-no-changes").ok().changes() == {}
    wait_until_control_planes_work(lab, stack)


@pytest.mark.parametrize("node", ["master-1", "gpu-1"])
def test_kubelets_renew_their_own(lab: Lab, node: str) -> None:
    assert "rotateCertificates: true" in lab.shell(node, "cat /var/lib/kubelet/config.yaml")
    kubeconfig = lab.shell(node, "cat /etc/kubernetes/kubelet.conf")
    assert "/var/lib/kubelet/pki/kubelet-client-current.pem" in kubeconfig, "one that is embedded would stay as it is"


def test_nothing_of_it_is_in_the_state_in_clear(stack: Stack) -> None:
    key = stack.outputs("--show-secrets")["backupKey"]
    line = key.splitlines()[1]
    exported = subprocess.run(
        [str(ROOT / "tools/engine"), "stack", "export"],
        env=stack.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert line not in exported
    kinds = [each["type"] for each in json.loads(exported)["deployment"]["resources"]]
    assert kinds.count("host:index:KeyPair") == 2
