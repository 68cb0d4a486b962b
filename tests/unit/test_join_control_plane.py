"""join_control_plane.sh by table: what state a node can be in, and what is done about it. The worst mistake it could make is a
second cluster beside a living one, or erasing the only copy of etcd."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from components.cluster import kubeadm_config
from tests.support.cluster import settings
from tests.support.scripts import FakeNode, Ran

SCRIPT = "components/cluster/scripts/join_control_plane.sh"
ENVIRONMENT = {
    "NODE_NAME": "master-1",
    "NODE_ADDRESS": "192.0.2.11",
    "NODE_ROLE": "control-plane",
    "API_ENDPOINT": "192.0.2.10:6443",
}
TOKEN, HASH, KEY = "abcdef.0123456789abcdef", "sha256:" + "a" * 64, "b" * 64
KEYS = "kind: EncryptionConfiguration\nsecret: a-key-of-secrets-0123456789\n"
KEYS_SENT = base64.b64encode(KEYS.encode()).decode()
MATERIAL = f"certificate_key={KEY}\nencryption={KEYS_SENT}\ntoken={TOKEN}\nca_hash={HASH}\n"
# The API server of this very node answers, and knows all that kubeadm does last.
FINISHED = "echo found"


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    found = settings()
    fake = FakeNode(tmp_path)
    first = found.control_planes[0]
    fake.write("/etc/kubeadm/init.yaml", kubeadm_config.init_yaml(found.kubernetes, first, found.api_host))
    fake.write("/etc/kubeadm/join.yaml", kubeadm_config.join_yaml(found.kubernetes, first, found.api_host))
    return fake


def check(node: FakeNode) -> Ran:
    ran = node.run(SCRIPT, "check", **ENVIRONMENT)
    changing = [call for call in ran.calls if call.split()[0] == "kubeadm" or " enable" in call or " start" in call]
    assert not changing, "check must change nothing"
    return ran


def apply(node: FakeNode, material: str = "") -> Ran:
    return node.run(SCRIPT, "apply", material, **ENVIRONMENT)


def kubeadm(ran: Ran) -> list[str]:
    """The kubeadm verbs that were called, with what decides what they do."""
    return [
        " ".join(call.split()[1:3]) if " phase " in call else call.split()[1]
        for call in ran.calls
        if call.startswith("kubeadm ")
    ]


def joined(node: FakeNode) -> FakeNode:
    assert apply(node, MATERIAL).code == 0
    return node


def test_a_bare_node_without_peers_in_a_cluster_starts_one(node: FakeNode) -> None:
    assert check(node).output == "drifted: not a member\n"
    ran = apply(node)
    assert (ran.code, kubeadm(ran)) == (0, ["init"])
    assert "--ignore-preflight-errors" not in " ".join(ran.calls)
    assert check(node).code == 0


def test_a_bare_node_with_material_joins(node: FakeNode) -> None:
    ran = apply(node, MATERIAL)
    assert (ran.code, kubeadm(ran)) == (0, ["join"])
    config = (node.root / "configs").read_text()
    assert TOKEN in config
    assert HASH in config
    assert KEY in config
    assert "@" not in config
    assert check(node).output == "unchanged: a control plane already\n"


def keys(node: FakeNode) -> str:
    path = node.root / "etc/kubernetes/apiserver/encryption.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text()


def test_who_starts_the_cluster_makes_the_keys_of_secrets(node: FakeNode) -> None:
    ran = apply(node)
    made = yaml.safe_load(keys(node))
    (secrets, plain) = made["resources"][0]["providers"]
    (key,) = secrets["secretbox"]["keys"]
    assert len(base64.b64decode(key["secret"], validate=True)) == 32
    assert plain == {"identity": {}}
    assert made["resources"][0]["resources"] == ["secrets"]
    assert key["secret"] not in "\n".join(ran.calls) + ran.output + ran.errors
    assert yaml.safe_load(keys(node)) == made, "made once"


def test_a_start_that_goes_on_keeps_the_keys(node: FakeNode) -> None:
    node.write("/etc/kubernetes/apiserver/encryption.yaml", "kept\n")
    (node.root / "etc/kubernetes/apiserver/encryption.yaml").chmod(0o600)
    node.write("/etc/kubernetes/pki/ca.crt")
    node.write("/var/lib/etcd/member/wal")
    assert apply(node).code == 0
    assert keys(node) == "kept\n"


@pytest.mark.parametrize("more", ["", "#", "##"], ids=["no padding", "two", "one"])
def test_who_joins_gets_the_keys_of_the_others(node: FakeNode, more: str) -> None:
    sent = base64.b64encode(f"{KEYS}{more}".encode()).decode()
    assert apply(node, MATERIAL.replace(KEYS_SENT, sent)).code == 0
    assert keys(node) == f"{KEYS}{more}"


@pytest.mark.parametrize("encryption", ["", "encryption=\n", "encryption=no base64!\n"])
def test_without_the_keys_nothing_is_joined(node: FakeNode, encryption: str) -> None:
    ran = apply(node, f"certificate_key={KEY}\ntoken={TOKEN}\nca_hash={HASH}\n{encryption}")
    assert ran.code == 2
    assert kubeadm(ran) == []


def test_material_is_in_no_argument_and_in_no_file(node: FakeNode) -> None:
    ran = apply(node, MATERIAL)
    everything = "\n".join(ran.calls) + node.texts() + ran.output + ran.errors
    for secret in (TOKEN, TOKEN.split(".")[1], KEY):
        assert secret not in everything


@pytest.mark.parametrize("left", [(), ("/etc/kubernetes/pki/ca.crt", "/var/lib/etcd/member/wal")])
def test_a_second_cluster_is_never_started_beside_a_foreign_api(node: FakeNode, left: tuple[str, ...]) -> None:
    for path in left:
        node.write(path)
    node.endpoint = "foreign"
    ran = apply(node)
    assert ran.code == 2
    assert "an API answers at 192.0.2.10:6443" in ran.errors
    assert kubeadm(ran) == []


def test_a_start_interrupted_before_etcd_had_data_begins_anew(node: FakeNode) -> None:
    node.write("/etc/kubernetes/pki/ca.key")
    assert check(node).code == 1
    assert kubeadm(apply(node)) == ["reset", "init"]


def test_a_start_interrupted_after_etcd_had_data_goes_on_without_a_reset(node: FakeNode) -> None:
    node.write("/etc/kubernetes/pki/ca.crt")
    node.write("/var/lib/etcd/member/wal")
    ran = apply(node)
    assert kubeadm(ran) == ["init"]
    assert node.exists("/var/lib/etcd/member/wal")
    (call,) = [call for call in ran.calls if call.startswith("kubeadm init")]
    assert "DirAvailable--var-lib-etcd" in call
    assert "FileAvailable--etc-kubernetes-manifests-etcd.yaml" in call


def test_going_on_keeps_the_settings_own_exceptions(node: FakeNode) -> None:
    found = settings({"kubernetes": {"apiAddress": "192.168.1.10", "ignorePreflight": ["Swap", "NumCPU"]}})
    text = kubeadm_config.init_yaml(found.kubernetes, found.control_planes[0], found.api_host)
    node.write("/etc/kubeadm/init.yaml", text)
    node.write("/var/lib/etcd/member/wal")
    (call,) = [call for call in apply(node).calls if call.startswith("kubeadm init")]
    assert call.endswith(",Swap,NumCPU")


def test_an_interrupted_start_whose_own_api_answers_goes_on(node: FakeNode) -> None:
    """Its administrator may have no rights yet, so only the certificate tells whose API it is."""
    node.endpoint = "own"
    node.write("/etc/kubernetes/pki/ca.crt")
    node.write("/var/lib/etcd/member/wal")
    assert kubeadm(apply(node)) == ["init"]


def test_an_interrupted_join_is_cleaned_and_begun_again(node: FakeNode) -> None:
    node.write("/etc/kubernetes/bootstrap-kubelet.conf")
    node.write("/var/lib/etcd/member/wal")
    assert check(node).code == 1
    ran = apply(node, MATERIAL)
    assert kubeadm(ran) == ["reset", "join"]
    assert not node.exists("/var/lib/etcd/member/wal")
    assert ran.code == 0


def test_all_files_there_but_never_finished_counts_as_interrupted(node: FakeNode) -> None:
    joined(node)
    (node.root / "var/lib/kubelet/.control-plane-complete").unlink()
    assert check(node).output == "drifted: joining was interrupted\n"
    assert kubeadm(apply(node, MATERIAL)) == ["reset", "join"]


def test_a_cluster_made_by_hand_counts_as_joined(node: FakeNode) -> None:
    joined(node)
    (node.root / "var/lib/kubelet/.control-plane-complete").unlink()
    node.programs["kubectl"] = FINISHED
    assert check(node).code == 0
    assert kubeadm(apply(node)) == []
    assert check(node).code == 0


@pytest.mark.parametrize("piece", ["manifests/kube-scheduler.yaml", "kubelet.conf", "admin.conf"])
def test_a_finished_member_is_never_minted_for_whatever_it_lacks(node: FakeNode, piece: str) -> None:
    """Minting takes the node's place in etcd away: a member that only lost a file must not come to that."""
    joined(node)
    (node.root / "etc/kubernetes" / piece).unlink()
    node.kubelet = False
    assert check(node).output == "unchanged: a control plane already\n"


def test_a_control_plane_that_was_taken_out_while_away_joins_anew(node: FakeNode) -> None:
    joined(node)
    node.programs["kubectl"] = "exit 0"  # the API answers at the endpoint, and knows no such control plane
    assert check(node).output == "drifted: taken out of the cluster while it was away\n"
    assert kubeadm(apply(node, MATERIAL)) == ["reset", "join"]


@pytest.mark.parametrize(
    ("kubectl", "local_api"),
    [("exit 1", False), ("echo node/master-1", False), ("exit 0", True)],
    ids=["endpoint does not answer", "endpoint knows it", "its own API is ready"],
)
def test_a_control_plane_in_trouble_is_not_taken_for_one_that_was_taken_out(
    node: FakeNode, kubectl: str, local_api: bool
) -> None:
    joined(node)
    node.programs["kubectl"] = kubectl
    node.local_api = local_api
    assert check(node).output == "unchanged: a control plane already\n"


@pytest.mark.parametrize(
    "material",
    [
        f"token={TOKEN}\nca_hash={HASH}\n",
        f"token={TOKEN}; reboot\nca_hash={HASH}\ncertificate_key={KEY}\n",
        f"token={TOKEN}\nca_hash=sha256:short\ncertificate_key={KEY}\n",
    ],
)
def test_unusable_material_changes_nothing(node: FakeNode, material: str) -> None:
    node.write("/etc/kubernetes/bootstrap-kubelet.conf")
    ran = apply(node, material)
    assert ran.code == 2
    assert kubeadm(ran) == []
    assert TOKEN not in ran.errors
