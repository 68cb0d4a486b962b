"""Secrets changed on the lab by `up` while everything is asked: the key of Secrets in etcd, the login key, Redis's password."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_1_build import kubectl
from tests.cluster.test_4_failover import control_planes
from tests.support.lab import ROOT, Lab
from tests.support.ssh_server import make_key
from tests.support.stack import Stack

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
KEYS = "/etc/kubernetes/apiserver/encryption.yaml"
ETCD = "etcdctl --cacert {pki}/ca.crt --cert {pki}/server.crt --key {pki}/server.key".format(
    pki="/etc/kubernetes/pki/etcd"
)
BEFORE, AFTER = "another-password-before-01", "another-password-after-02"


class Asking:
    """Lists the Secrets by the API's address, again and again; `failed` is what was said where that did not work."""

    def __init__(self, stack: Stack, lab: Lab) -> None:
        api = f"https://{stack.setting('kubernetes')['apiAddress']}:6443"
        self._lab, self._command = lab, f"{KUBECTL} --server {api} --request-timeout 20s get secrets -A -o name"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.asked, self.failed = 0, list[str]()

    def _work(self) -> None:
        while not self._end.is_set():
            said = self._lab.run("shell", "master-1", "--", self._command, check=False)
            self.asked += 1
            if said.returncode:
                self.failed.append(said.stderr)
            time.sleep(0.5)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(120)


def keys_of_stored_secrets(lab: Lab) -> set[str]:
    """The names of the keys that what lies in etcd was encrypted with; `plain` for what was not."""
    get = f"-n kube-system exec etcd-master-1 -c etcd -- {ETCD} get /registry/secrets/ --prefix"
    found = kubectl(
        lab, f"{get} | LC_ALL=C grep -aoE '^(/registry/secrets/[^/]+/|k8s:enc:secretbox:v1:key[0-9]+:)'"
    ).split()
    names = [line.split(":")[4] for line in found if line.startswith("k8s:")]
    return {*names, *(["plain"] if 2 * len(names) != len(found) else [])}


@pytest.mark.chaos
def test_the_key_of_secrets_is_another_one_and_the_api_was_never_gone(stack: Stack, lab: Lab) -> None:
    nodes = control_planes(stack)
    before = {lab.shell(node, "pgrep -f '^kube-apiserver'") for node in nodes}
    kubernetes = {**stack.setting("kubernetes"), "encryptionKeyGeneration": 2}
    changed = stack.with_setting("kubernetes", kubernetes)
    assert changed.preview().ok().changes() == {"encryption-key": "update"}
    with Asking(stack, lab) as asking:
        assert changed.up().ok().changes() == {"encryption-key": "update"}
    assert asking.failed == []
    assert asking.asked > 10
    assert {lab.shell(node, "pgrep -f '^kube-apiserver'") for node in nodes} == before, "no API server was restarted"
    assert len({lab.shell(node, f"sha256sum <{KEYS}") for node in nodes}) == 1
    assert lab.shell("master-1", f"grep -c 'name: key' {KEYS}").strip() == "1"
    assert keys_of_stored_secrets(lab) == {"key2"}
    assert changed.preview("--expect-no-changes").ok().changes() == {}
    assert stack.up().ok().changes() == {"encryption-key": "update"}, "and back: the number is a name"
    assert keys_of_stored_secrets(lab) == {"key1"}


@pytest.mark.chaos
def test_the_operators_key_is_changed_in_two_runs(stack: Stack, lab: Lab, tmp_path: Path) -> None:
    old = lab.state / "id_ed25519"
    new = make_key(tmp_path / "new")
    public = [" ".join(Path(f"{key}.pub").read_text().split()[:2]) for key in (new, old)]
    ssh = stack.setting("ssh")
    names = {f"{node['name']}-base": "update" for node in stack.setting("nodes")}
    assert stack.with_setting("ssh", {**ssh, "authorizedKeys": public[:1]}).up().ok().changes() == names
    second = {**ssh, "privateKeyFile": str(new), "authorizedKeys": public[:1], "revokedKeys": public[1:]}
    try:
        assert stack.with_setting("ssh", second).up().ok().changes() == names
        for node in stack.setting("nodes"):
            assert public[1] not in lab.shell(node["name"], "cat /root/.ssh/authorized_keys")
    finally:
        back = {**ssh, "privateKeyFile": str(new), "authorizedKeys": public[1:]}
        stack.with_setting("ssh", back).up().ok()
    stack.with_setting("ssh", {**ssh, "revokedKeys": public[:1]}).up().ok()
    stack.up().ok()


def test_nothing_is_left_of_what_joins_needed(lab: Lab) -> None:
    """Tokens live 15 minutes, uploaded certificates two hours: each has its end written on it."""
    found = json.loads(kubectl(lab, "-n kube-system get secrets -o json"))["items"]
    left = [each for each in found if each["type"] == "bootstrap.kubernetes.io/token"]
    assert all("expiration" in each["data"] for each in left)
    uploaded = [each["metadata"] for each in found if each["metadata"]["name"] == "kubeadm-certs"]
    assert all(each.get("ownerReferences") for each in uploaded), "removed with its token"
    for node in ("master-2", "gpu-1"):
        assert lab.shell(node, "grep -rlE '[a-z0-9]{6}\\.[a-z0-9]{16}' /etc/kubeadm /etc/kubernetes || true") == ""


@pytest.fixture
def passwords(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """The stack with a config file in which Redis's passwords can be set; its own one is back afterwards."""
    other = Stack(stack.name, tmp_path)
    other._command("preview")  # writes the config file that `config set` edits
    yield other
    stack.up().ok()


def configure(stack: Stack, folder: Path, **secrets: str) -> None:
    path = folder / f"Pulumi.{stack.name}.yaml"
    for name, value in secrets.items():
        argv = [str(ROOT / "tools" / "engine"), "config", "set", "--secret", name, "--config-file", str(path)]
        subprocess.run(argv, env=stack.environment(), input=value, text=True, check=True, capture_output=True)
    stack.reload(path)


@pytest.mark.chaos
def test_another_redis_password_restarts_no_replica(passwords: Stack, lab: Lab, tmp_path: Path) -> None:
    replicas = "get pods -l app=qwen3-vl-webui -o jsonpath='{.items[*].metadata.uid}'"
    before = kubectl(lab, replicas)
    configure(passwords, tmp_path, redisPassword=AFTER, redisPasswordPrevious=BEFORE)
    passwords.up().ok()
    assert kubectl(lab, replicas) == before
    held = kubectl(lab, "get secret redis-password -o jsonpath='{.data.password}' | base64 -d")
    assert held == AFTER
