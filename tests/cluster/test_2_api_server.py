"""The API server on the lab: what a stranger gets, what is recorded, and flags that are changed by hand come back."""

from __future__ import annotations

import json
import secrets

from tests.cluster.test_1_build import kubectl
from tests.cluster.test_4_failover import control_planes
from tests.support.lab import Lab
from tests.support.stack import Stack

POLL = "for _ in $(seq 60); do {command} && exit 0; sleep 1; done; exit 1"


def test_without_a_name_one_gets_health_and_what_a_joining_node_needs(stack: Stack, lab: Lab) -> None:
    api = f"https://{stack.setting('kubernetes')['apiAddress']}:6443"
    paths = {
        "/livez": "200",
        "/readyz": "200",
        "/api/v1/namespaces/kube-public/configmaps/cluster-info": "200",
        "/version": "401",
        "/api": "401",
        "/api/v1/namespaces/default/secrets": "401",
        "/metrics": "401",
    }
    for path, code in paths.items():
        assert lab.shell("gpu-1", f"curl -sk -m 10 -o /dev/null -w '%{{http_code}}' {api}{path}") == code, path


def test_old_tls_is_refused(stack: Stack, lab: Lab) -> None:
    address = stack.setting("kubernetes")["apiAddress"]
    for node, port in ((address, 6443), (stack.setting("nodes")[0]["address"], 10250)):
        for version, answers in (("--tls-max 1.1", False), ("--tls-max 1.2", True)):
            said = lab.shell(
                "gpu-1",
                f"curl -sk -m 10 {version} -o /dev/null https://{node}:{port}/healthz; echo exit $?",
                check=False,
            )
            assert (said.strip() == "exit 0") is answers, (node, port, version, said)


def test_who_changed_what_is_recorded_and_no_content_is(stack: Stack, lab: Lab) -> None:
    name, canary = f"audited-{secrets.token_hex(4)}", secrets.token_hex(16)
    kubectl(lab, f"create secret generic {name} --from-literal=key={canary}")
    kubectl(lab, f"delete secret {name}")
    found: list[dict[str, object]] = []
    for node in control_planes(stack):
        log = lab.shell(node, "cat /var/log/kubernetes/audit/audit.log")
        assert canary not in log
        events = [json.loads(line) for line in log.splitlines() if name in line]
        assert not [event for event in events if "requestObject" in event or "responseObject" in event]
        found += events
    verbs = [event["verb"] for event in found]
    assert (verbs.count("create"), verbs.count("delete")) == (1, 1), "each once, by the one API server that was asked"


def test_secrets_lie_encrypted_in_etcd_with_the_same_keys_everywhere(stack: Stack, lab: Lab) -> None:
    name, canary = f"encrypted-{secrets.token_hex(4)}", secrets.token_hex(16)
    kubectl(lab, f"create secret generic {name} --from-literal=key={canary}")
    pki = "/etc/kubernetes/pki/etcd"
    etcdctl = f"etcdctl --cacert {pki}/ca.crt --cert {pki}/server.crt --key {pki}/server.key"
    stored = kubectl(
        lab,
        f"-n kube-system exec etcd-master-1 -c etcd -- {etcdctl} get /registry/secrets/default/{name} --print-value-only"
        " | tr -cd '[:print:]'",
    )
    kubectl(lab, f"delete secret {name}")
    assert stored.startswith("k8s:enc:secretbox:v1:key1:"), stored[:40]
    assert canary not in stored
    keys = {lab.shell(node, "sha256sum </etc/kubernetes/apiserver/encryption.yaml") for node in control_planes(stack)}
    assert len(keys) == 1


def test_flags_changed_by_hand_are_named_and_brought_back(stack: Stack, lab: Lab) -> None:
    manifest = "/etc/kubernetes/manifests/kube-scheduler.yaml"
    lab.shell("master-2", f"sed -i 's/--profiling=false/--profiling=true/' {manifest}")
    lab.shell("master-2", POLL.format(command="pgrep -f 'kube-scheduler .*--profiling=true' >/dev/null"))
    preview = stack.preview().ok()
    assert preview.changes() == {"master-2-member": "update"}
    (told,) = [line for line in preview.messages if line.startswith("master-2: drifted:")]
    assert "configure_control_plane" in told
    assert "kube-scheduler" in told
    assert stack.up().ok().changes() == {"master-2-member": "update"}
    lab.shell("master-2", "pgrep -f 'kube-scheduler .*--profiling=false' >/dev/null")
    assert stack.preview("--expect-no-changes").ok().changes() == {}
