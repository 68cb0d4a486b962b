"""The other membership scripts by table: mending, kubelet, joining as a worker, minting, leaving."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Literal

import pytest

from components.cluster import kubeadm_config
from tests.support.cluster import settings
from tests.support.scripts import FakeNode, Ran

SCRIPTS = "components/cluster/scripts"
CONTROL_PLANE = {
    "NODE_NAME": "master-1",
    "NODE_ADDRESS": "192.0.2.11",
    "NODE_ROLE": "control-plane",
    "API_ENDPOINT": "192.0.2.10:6443",
}
WORKER = {"NODE_NAME": "gpu-1", "NODE_ADDRESS": "192.0.2.21", "NODE_ROLE": "worker", "API_ENDPOINT": "192.0.2.10:6443"}
TOKEN, HASH, KEY = "abcdef.0123456789abcdef", "sha256:" + "a" * 64, "b" * 64
KEYS = "kind: EncryptionConfiguration\nsecret: a-key-of-secrets-0123456789\n"
KEYS_SENT = base64.b64encode(KEYS.encode()).decode()
MATERIAL = f"certificate_key={KEY}\nencryption={KEYS_SENT}\ntoken={TOKEN}\nca_hash={HASH}\n"
MARKER = "/var/lib/kubelet/.control-plane-complete"
ETCD_MEMBERS = """\
8e9e05c52164694d, started, master-1, https://192.0.2.11:2380, https://192.0.2.11:2379, false
91bc3c398fb3c146, started, master-2, https://192.0.2.12:2380, https://192.0.2.12:2379, false
fd422379fda50e48, unstarted, , https://192.0.2.13:2380, , true
"""
APISERVER = (
    "spec:\n  - command:\n    - kube-apiserver\n    - --advertise-address=192.0.2.11\n    - --secure-port=6443\n"
)
ETCD = "spec:\n  - command:\n    - etcd\n    - --name=master-1\n"


def kubeadm(ran: Ran) -> list[str]:
    return [call.split()[1] for call in ran.calls if call.startswith("kubeadm ")]


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    found = settings()
    fake = FakeNode(tmp_path)
    fake.write(
        "/etc/kubeadm/init.yaml", kubeadm_config.init_yaml(found.kubernetes, found.control_planes[0], found.api_host)
    )
    fake.write("/etc/kubeadm/join.yaml", kubeadm_config.join_yaml(found.kubernetes, found.workers[0], found.api_host))
    return fake


@pytest.fixture
def member(node: FakeNode) -> FakeNode:
    """A finished control plane, as one that answers peers."""
    found = settings()
    node.write(
        "/etc/kubeadm/join.yaml", kubeadm_config.join_yaml(found.kubernetes, found.control_planes[0], found.api_host)
    )
    assert node.run(f"{SCRIPTS}/join_control_plane.sh", "apply", MATERIAL, **CONTROL_PLANE).code == 0
    node.write("/etc/kubernetes/manifests/kube-apiserver.yaml", APISERVER)
    node.write("/etc/kubernetes/manifests/etcd.yaml", ETCD)
    return node


# Mending


def repair(node: FakeNode, verb: str) -> Ran:
    return node.run(f"{SCRIPTS}/repair_control_plane.sh", verb, **CONTROL_PLANE)


@pytest.mark.parametrize("piece", ["manifests/kube-scheduler.yaml", "kubelet.conf", "pki/apiserver.crt", "admin.conf"])
def test_a_member_that_lost_a_file_is_mended_in_place(member: FakeNode, piece: str) -> None:
    (member.root / "etc/kubernetes" / piece).unlink()
    found = repair(member, "check")
    assert (found.code, found.calls) == (1, [])
    assert f"/etc/kubernetes/{piece}" in found.output
    ran = repair(member, "apply")
    assert ran.code == 0
    assert set(kubeadm(ran)) == {"init"}
    assert all(" phase " in call for call in ran.calls if call.startswith("kubeadm"))
    assert repair(member, "check").code == 0


def test_a_lost_ca_is_not_made_again(member: FakeNode) -> None:
    """A new CA would be a new cluster."""
    (member.root / "etc/kubernetes/pki/ca.key").unlink()
    ran = repair(member, "apply")
    assert ran.code == 2
    assert "the cluster's CA is missing" in ran.errors
    assert kubeadm(ran) == []


def test_lost_keys_of_secrets_are_not_made_again(member: FakeNode) -> None:
    (member.root / "etc/kubernetes/apiserver/encryption.yaml").unlink()
    assert "encryption.yaml" in repair(member, "check").output
    ran = repair(member, "apply")
    assert ran.code == 2
    assert "without its keys the Secrets in etcd cannot be read here" in ran.errors
    assert kubeadm(ran) == []


def test_a_peer_without_the_keys_of_secrets_is_not_asked_twice(peer: FakeNode) -> None:
    (peer.root / "etc/kubernetes/apiserver/encryption.yaml").unlink()
    ran = mint(peer, **CONTROL_PLANE | {"NODE_NAME": "master-4", "NODE_ADDRESS": "192.0.2.14"})
    assert ran.code == 4
    assert mint(peer, **WORKER).code == 0, "a worker gets none of them"


def test_a_changed_endpoint_is_refused_before_anything_else(member: FakeNode) -> None:
    member.write("/etc/kubernetes/admin.conf", "    server: https://198.51.100.1:6443\n")
    assert repair(member, "check").output == "drifted: the API endpoint of its cluster is 198.51.100.1:6443\n"
    ran = repair(member, "apply")
    assert ran.code == 2
    assert "not 192.0.2.10:6443; it is fixed when a cluster starts" in ran.errors


def test_nodes_that_are_no_member_yet_are_left_to_joining(node: FakeNode) -> None:
    assert repair(node, "check").output == "unchanged: nothing to mend\n"
    node.write("/etc/kubernetes/pki/ca.crt")
    node.write("/var/lib/etcd/member/wal")
    assert repair(node, "check").output == "unchanged: nothing to mend\n"


def test_a_control_plane_made_by_hand_is_marked(member: FakeNode) -> None:
    (member.root / MARKER.lstrip("/")).unlink()
    assert repair(member, "check").code == 0, "its API does not say that it is complete"
    member.programs["kubectl"] = "echo found"
    assert repair(member, "check").code == 1
    assert repair(member, "apply").code == 0
    assert member.exists(MARKER)


# kubelet


def test_kubelet_is_started_on_members_only(node: FakeNode) -> None:
    node.kubelet = False
    assert node.run(f"{SCRIPTS}/run_kubelet.sh", "check").output.startswith("unchanged: not a member yet")
    node.write("/etc/kubernetes/kubelet.conf")
    assert node.run(f"{SCRIPTS}/run_kubelet.sh", "check").code == 1
    assert "systemctl enable --now --quiet kubelet" in node.run(f"{SCRIPTS}/run_kubelet.sh", "apply").calls
    node.kubelet = True
    assert node.run(f"{SCRIPTS}/run_kubelet.sh", "check").output == "unchanged: kubelet runs\n"


# Images

IMAGES = {"KUBERNETES_VERSION": "v1.34.2", "CRI_SOCKET": "unix:///run/containerd/containerd.sock"}


def images(node: FakeNode, verb: str, there: str) -> Ran:
    node.programs["ctr"] = f"printf '{there}'"
    node.programs["kubeadm"] = "if [[ $3 == list ]]; then printf 'r.io/a:1\\nr.io/b:2\\n'; fi"
    return node.run(f"{SCRIPTS}/pull_images.sh", verb, **IMAGES)


def test_only_missing_images_are_a_reason_to_pull(node: FakeNode) -> None:
    assert images(node, "check", "r.io/a:1\\nr.io/b:21\\n").output == "drifted: not here: r.io/b:2\n"
    assert any("config images pull" in call for call in images(node, "apply", "r.io/a:1").calls)
    assert images(node, "check", "r.io/a:1\\nr.io/b:2\\n").code == 0


def test_images_of_a_member_are_kubelets_business(node: FakeNode) -> None:
    node.write("/etc/kubernetes/kubelet.conf")
    assert images(node, "check", "").output.startswith("unchanged: a member")


# Joining as a worker


def join(node: FakeNode, verb: str, material: str = "") -> Ran:
    return node.run(f"{SCRIPTS}/join_worker.sh", verb, material, **WORKER)


def test_a_bare_worker_joins_once(node: FakeNode) -> None:
    assert join(node, "check").output == "drifted: not a member\n"
    ran = join(node, "apply", MATERIAL)
    assert (ran.code, kubeadm(ran)) == (0, ["join"])
    assert TOKEN in (node.root / "configs").read_text()
    assert TOKEN not in "\n".join(ran.calls) + node.texts() + ran.output + ran.errors
    assert join(node, "check").output == "unchanged: member of the cluster at 192.0.2.10:6443\n"


@pytest.mark.parametrize("left", ["/etc/kubernetes/bootstrap-kubelet.conf", "/var/lib/kubelet/config.yaml"])
def test_an_interrupted_worker_is_cleaned_and_begun_again(node: FakeNode, left: str) -> None:
    node.write(left)
    assert "joining was interrupted" in join(node, "check").output
    assert kubeadm(join(node, "apply", MATERIAL)) == ["reset", "join"]


def test_without_a_control_plane_nothing_is_changed(node: FakeNode) -> None:
    node.write("/etc/kubernetes/bootstrap-kubelet.conf")
    ran = join(node, "apply")
    assert ran.code == 2
    assert "no control plane could mint join material" in ran.errors
    assert kubeadm(ran) == []


def test_a_worker_of_another_cluster_is_left_alone(node: FakeNode) -> None:
    assert join(node, "apply", MATERIAL).code == 0
    node.write("/etc/kubernetes/kubelet.conf", "    server: https://198.51.100.1:6443\n")
    assert join(node, "check").code == 1
    ran = join(node, "apply", MATERIAL)
    assert ran.code == 2
    assert kubeadm(ran) == []


# Minting

KUBECTL_MINTS = f"""\
case "$*" in
  *"member list"*) printf '%s' '{ETCD_MEMBERS}' ;;
  *"member remove"*) echo "Member removed" ;;
esac
"""
KUBEADM_MINTS = f"""\
case "$*" in
  "version -o short") echo v1.34.2 ;;
  *upload-certs*) cat "${{@: -1}}" >>"$NODE_ROOT/configs"; printf '[upload-certs] Using certificate key:\\n%s\\n' {KEY} ;;
  "token create"*) echo "kubeadm join 192.0.2.10:6443 --token {TOKEN} --discovery-token-ca-cert-hash {HASH} " ;;
esac
"""


@pytest.fixture
def peer(member: FakeNode) -> FakeNode:
    member.programs |= {"kubectl": KUBECTL_MINTS, "kubeadm": KUBEADM_MINTS}
    return member


def mint(peer: FakeNode, **joining: str) -> Ran:
    return peer.run(f"{SCRIPTS}/mint_join_material.sh", "apply", **joining)


def test_a_worker_gets_a_token_and_no_certificates(peer: FakeNode) -> None:
    ran = mint(peer, **WORKER)
    assert ran.output == f"token={TOKEN}\nca_hash={HASH}\n"
    assert not [call for call in ran.calls if "etcdctl" in call or "upload-certs" in call]
    (create,) = [call for call in ran.calls if "token create" in call]
    assert "--ttl 15m" in create


@pytest.mark.parametrize(
    ("name", "address", "member_id"),
    [("master-2", "192.0.2.99", "91bc3c398fb3c146"), ("master-3", "192.0.2.13", "fd422379fda50e48")],
)
def test_a_control_planes_old_place_in_etcd_is_freed_first(
    peer: FakeNode, name: str, address: str, member_id: str
) -> None:
    """By its name, or by its address where it had been added and never started."""
    ran = mint(peer, **CONTROL_PLANE | {"NODE_NAME": name, "NODE_ADDRESS": address})
    assert ran.output == MATERIAL
    removed = [call.rsplit(" ", 1)[1] for call in ran.calls if "member remove" in call]
    assert removed == [member_id]
    assert "kubernetesVersion: v1.34.2" in (peer.root / "configs").read_text()


def test_a_new_control_plane_takes_no_ones_place(peer: FakeNode) -> None:
    ran = mint(peer, **CONTROL_PLANE | {"NODE_NAME": "master-4", "NODE_ADDRESS": "192.0.2.14"})
    assert ran.code == 0
    assert not [call for call in ran.calls if "member remove" in call]


def test_minting_leaves_nothing_on_the_peers_disk(peer: FakeNode) -> None:
    ran = mint(peer, **CONTROL_PLANE | {"NODE_NAME": "master-4", "NODE_ADDRESS": "192.0.2.14"})
    assert KEY not in peer.texts() + "\n".join(ran.calls) + ran.errors
    assert KEYS_SENT not in peer.texts() + "\n".join(ran.calls) + ran.errors
    assert TOKEN not in peer.texts() + "\n".join(ran.calls) + ran.errors


@pytest.mark.parametrize("script", ["mint_join_material", "drain_node", "remove_etcd_member", "delete_node"])
def test_a_peer_that_is_no_member_says_so_with_its_own_exit_status(node: FakeNode, script: str) -> None:
    ran = node.run(f"{SCRIPTS}/{script}.sh", "apply", DRAIN_SECONDS="1", **WORKER)
    assert (ran.code, ran.errors) == (3, "not a control plane\n")


def test_a_control_plane_that_is_down_is_not_taken_for_a_non_member(peer: FakeNode) -> None:
    """The difference decides whether somebody else may start a cluster."""
    peer.kubelet = False
    assert mint(peer, **CONTROL_PLANE | {"NODE_NAME": "master-2"}).code == 4


def test_a_peer_whose_api_does_not_answer_cannot_drain_now(member: FakeNode) -> None:
    ran = member.run(f"{SCRIPTS}/drain_node.sh", "apply", DRAIN_SECONDS="1", **WORKER)
    assert ran.code == 4


# Leaving


def test_a_dead_node_is_not_waited_for_long(member: FakeNode) -> None:
    def drained(ready: str) -> str:
        member.programs["kubectl"] = f"case \"$*\" in *jsonpath*) echo {ready} ;; *'-o name'*) echo node/gpu-1 ;; esac"
        ran = member.run(f"{SCRIPTS}/drain_node.sh", "apply", DRAIN_SECONDS="240", **WORKER)
        assert ran.code == 0
        return next(call for call in ran.calls if " drain " in call)

    assert "--timeout 240s" in drained("True")
    assert "--timeout 20s" in drained("Unknown")


def test_a_drain_that_a_budget_holds_up_goes_on_after_its_deadline(member: FakeNode) -> None:
    member.programs["kubectl"] = (
        "case \"$*\" in *' drain '*) exit 1 ;; *jsonpath*) echo True ;; *) echo node/gpu-1 ;; esac"
    )
    ran = member.run(f"{SCRIPTS}/drain_node.sh", "apply", DRAIN_SECONDS="1", **WORKER)
    assert ran.code == 0
    assert "not everything left gpu-1" in ran.output


def test_only_the_leaving_member_is_removed_from_etcd(peer: FakeNode) -> None:
    leaving = CONTROL_PLANE | {"NODE_NAME": "master-2", "NODE_ADDRESS": "192.0.2.12"}
    ran = peer.run(f"{SCRIPTS}/remove_etcd_member.sh", "apply", **leaving)
    assert [call.rsplit(" ", 1)[1] for call in ran.calls if "member remove" in call] == ["91bc3c398fb3c146"]
    other = CONTROL_PLANE | {"NODE_NAME": "master-9", "NODE_ADDRESS": "192.0.2.19"}
    ran = peer.run(f"{SCRIPTS}/remove_etcd_member.sh", "apply", **other)
    assert ran.output == "unchanged: master-9 is not a member of etcd\n"


def reset(node: FakeNode, last: str = "no", **environment: str) -> Ran:
    node.programs["sleep"] = ""
    return node.run(f"{SCRIPTS}/reset_node.sh", "apply", RESET_LAST_CONTROL_PLANE=last, **environment)


@pytest.mark.parametrize(("endpoint", "local_api"), [("silent", False), ("own", True), ("silent", True)])
def test_a_control_plane_keeps_etcd_unless_another_carries_on(
    member: FakeNode, endpoint: Literal["silent", "own"], local_api: bool
) -> None:
    """Nobody answers: the others may be dead for good. It answers itself: it was not taken out of etcd."""
    member.endpoint, member.local_api = endpoint, local_api
    ran = reset(member, **CONTROL_PLANE)
    assert "unchanged: no other control plane carries on" in ran.output
    assert kubeadm(ran) == []
    assert member.exists("/var/lib/etcd/member")


def test_an_endpoint_on_the_node_itself_is_nobody_else(member: FakeNode) -> None:
    """Its API server, busy one moment and ready the next, would otherwise pass for another control plane."""
    member.endpoint = "own"
    member.programs["ip"] = "echo 2: eth0 inet 192.0.2.10/32"
    assert kubeadm(reset(member, **CONTROL_PLANE)) == []
    assert member.exists("/var/lib/etcd/member")


def test_a_control_plane_that_was_taken_out_of_etcd_is_reset(member: FakeNode) -> None:
    member.endpoint = "own"
    ran = reset(member, **CONTROL_PLANE)
    assert ran.code == 0
    assert kubeadm(ran) == ["reset"]
    assert not member.exists("/var/lib/etcd/member")
    assert "systemctl disable --now --quiet keepalived.service" in ran.calls


def test_the_last_control_plane_is_reset_when_the_settings_say_so(member: FakeNode) -> None:
    assert kubeadm(reset(member, last="yes", **CONTROL_PLANE)) == ["reset"]


def test_leaving_that_is_interrupted_is_no_membership_any_longer(member: FakeNode) -> None:
    join_script = f"{SCRIPTS}/join_control_plane.sh"
    assert member.run(join_script, "check", **CONTROL_PLANE).code == 0
    assert member.run(f"{SCRIPTS}/leave_control_plane.sh", "apply").code == 0
    assert member.run(join_script, "check", **CONTROL_PLANE).output == "drifted: joining was interrupted\n"


def test_a_worker_is_reset_whatever_the_others_do_and_twice_is_fine(node: FakeNode) -> None:
    assert join(node, "apply", MATERIAL).code == 0
    assert kubeadm(reset(node, **WORKER)) == ["reset"]
    assert join(node, "check").output == "drifted: not a member\n"
    assert reset(node, **WORKER).code == 0


def test_foreign_firewall_rules_survive_a_reset(node: FakeNode) -> None:
    node.programs["iptables-save"] = (
        "printf '*filter\\n:KUBE-FORWARD - [0:0]\\n-A INPUT -p tcp --dport 22 -j ACCEPT\\n-A FORWARD -j FLANNEL-FWD\\nCOMMIT\\n'"
    )
    node.programs["iptables-restore"] = 'cat >"$NODE_ROOT/restored"'
    assert reset(node, **WORKER).code == 0
    assert (node.root / "restored").read_text() == "*filter\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n"
