"""renew_certificates.sh by table: when kubeadm's certificates are due, what is restarted, and what an interruption leaves."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.support.certificates import issue
from tests.support.scripts import FakeNode, Ran

SCRIPT = "components/cluster/scripts/renew_certificates.sh"
ENVIRONMENT = {
    "NODE_NAME": "master-1",
    "NODE_ADDRESS": "192.0.2.11",
    "NODE_ROLE": "control-plane",
    "API_ENDPOINT": "192.0.2.10:6443",
    "READY_SECONDS": "60",
}
COMPONENTS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
CERTIFICATES = ("pki/apiserver.crt", "pki/front-proxy-client.crt", "pki/etcd/server.crt", "pki/etcd/peer.crt")
KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf")
RENEW = 'if [[ "$1 $2" == "certs renew" ]]; then cp -r "$NODE_ROOT/renewed/." "$NODE_ROOT/etc/kubernetes/"; fi'
# The process of a component is another one once it was told to end, unless the test says that it is stuck.
PGREP = 'name=${2#^}; name=${name%%(*}; cat "$NODE_ROOT/run/$name"'
PKILL = 'name=${3#^}; name=${name%%(*}; [[ -e $NODE_ROOT/stuck ]] || echo $((RANDOM + 100)) >"$NODE_ROOT/run/$name"'


def kubeconfig(pem: str) -> str:
    return f"users:\n- user:\n    client-certificate-data: {base64.b64encode(pem.encode()).decode()}\n"


def certificates(node: FakeNode, folder: str, days: float, of: str = "") -> None:
    """Everything ends in a year but `of`, which does in `days`. All are dated back to their authority, as kubeadm does it."""
    for name in (*CERTIFICATES, *KUBECONFIGS):
        pem = issue("a.example.com", days=(-1000, days if name == of else 364.9)).pem
        node.write(f"{folder}/{name}", kubeconfig(pem) if name.endswith(".conf") else pem)


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    fake = FakeNode(tmp_path)
    fake.write("/etc/kubernetes/manifests/kube-apiserver.yaml")
    for name in ("ca.crt", "front-proxy-ca.crt", "etcd/ca.crt"):  # near its end, and nothing that kubeadm renews
        fake.write(f"/etc/kubernetes/pki/{name}", issue(days=(-3600, 30)).pem)
    certificates(fake, "/etc/kubernetes", 364)
    certificates(fake, "/renewed", 364)
    for name in COMPONENTS:
        fake.write(f"/run/{name}", "1\n")
    fake.programs = {"kubeadm": RENEW, "pgrep": PGREP, "pkill": PKILL, "curl": ""}
    return fake


def run(node: FakeNode, verb: str, **over: str) -> Ran:
    return node.run(SCRIPT, verb, **(ENVIRONMENT | over))


def restarted(ran: Ran) -> list[str]:
    return [call.split("^")[1].split("(")[0] for call in ran.calls if call.startswith("pkill ")]


def test_a_node_that_has_not_joined_is_left_alone(tmp_path: Path) -> None:
    assert run(FakeNode(tmp_path), "check").output == "unchanged: no control plane yet\n"


def test_fresh_ones_are_left_alone_whatever_the_authorities_are(node: FakeNode) -> None:
    ran = run(node, "check")
    assert (ran.code, ran.output) == (0, "unchanged: no certificate ends within 364 days\n")
    assert not [call for call in ran.calls if call.startswith(("kubeadm", "pkill"))]


@pytest.mark.parametrize("name", [*CERTIFICATES, *KUBECONFIGS])
def test_each_that_comes_to_its_end_is_named(node: FakeNode, name: str) -> None:
    certificates(node, "/etc/kubernetes", 121.2, of=name)
    ran = run(node, "check")
    assert (ran.code, ran.output) == (1, f"drifted: {name} ends in 121 days\n")
    certificates(node, "/etc/kubernetes", 122.2, of=name)
    assert run(node, "check").code == 0


def test_one_that_has_ended_or_cannot_be_read_is_due(node: FakeNode) -> None:
    certificates(node, "/etc/kubernetes", -2.5, of="admin.conf")
    assert run(node, "check").output == "drifted: admin.conf ends in -2 days\n"
    node.write("/etc/kubernetes/pki/etcd/peer.crt", "nonsense\n")
    assert run(node, "check").output == "drifted: pki/etcd/peer.crt cannot be read\n"


def test_renewed_and_taken_over_by_all_in_order(node: FakeNode) -> None:
    certificates(node, "/etc/kubernetes", 30, of="pki/apiserver.crt")
    ran = run(node, "apply")
    assert ran.code == 0, ran.errors
    assert ran.output.startswith(
        "renewed, because pki/apiserver.crt ends in 29 days\netcd has the renewed certificates\n"
    )
    assert restarted(ran) == COMPONENTS
    assert run(node, "check").code == 0


def test_an_interrupted_run_is_finished_by_the_next(node: FakeNode) -> None:
    certificates(node, "/etc/kubernetes", 30, of="pki/apiserver.crt")
    node.write("/stuck")
    first = run(node, "apply", READY_SECONDS="2")
    assert first.code == 2
    assert "etcd is not well 2 s after its restart" in first.errors
    assert restarted(first) == ["etcd"], "the others go on with what they have"
    check = run(node, "check")
    assert (check.code, check.output) == (
        1,
        f"drifted: certificates were renewed, and are not yet used by: {' '.join(COMPONENTS)} \n",
    )
    (node.root / "stuck").unlink()
    second = run(node, "apply")
    assert second.code == 0, second.errors
    assert restarted(second) == COMPONENTS
    assert not [call for call in second.calls if call.startswith("kubeadm")], "once is enough"
    assert run(node, "check").code == 0


def test_renewal_that_fails_is_tried_again(node: FakeNode) -> None:
    certificates(node, "/etc/kubernetes", 30, of="pki/apiserver.crt")
    node.programs["kubeadm"] = "exit 1"
    assert run(node, "apply").code == 1
    assert run(node, "check").output == "drifted: pki/apiserver.crt ends in 29 days\n"
    node.programs["kubeadm"] = RENEW
    assert restarted(run(node, "apply")) == COMPONENTS
