"""configure_control_plane.sh by table: which static pods get new flags, and what happens when one does not come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scripts import FakeNode, Ran

SCRIPT = "components/cluster/scripts/configure_control_plane.sh"
ENVIRONMENT = {
    "NODE_NAME": "master-1",
    "NODE_ADDRESS": "192.0.2.11",
    "NODE_ROLE": "control-plane",
    "API_ENDPOINT": "192.0.2.10:6443",
    "READY_SECONDS": "2",
}
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
MANIFEST = "spec:\n  containers:\n  - command:\n    - {name}\n    - --flags={flags}\n    image: registry/{name}:{tag}\n"
KUBEADM = """\
if [[ $* == *--dry-run* ]]; then
  for each in kube-apiserver kube-controller-manager kube-scheduler; do
    said='spec:\\n  containers:\\n  - command:\\n    - %s\\n    - --flags=%s\\n    image: registry/%s:v9\\n'
    printf "$said" "$each" "$(cat "$NODE_ROOT/wanted")" "$each" >"$KUBEADM_INIT_DRYRUN_DIR/$each.yaml"
  done
fi
"""
# A container's id is what its manifest says, so a new manifest is a new container; `stuck` ones keep the old.
KUBECTL = """\
for word; do case $word in kube-*-master-1) name=${word%-master-1} ;; esac; done
if [[ -e $NODE_ROOT/stuck-$name ]]; then echo old; exit 0; fi
sha256sum "$NODE_ROOT/etc/kubernetes/manifests/$name.yaml" | cut -c1-12
"""


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    """A finished control plane with the flags `a`, of version v1."""
    fake = FakeNode(tmp_path, local_api=True)
    fake.write("/etc/kubeadm/init.yaml")
    fake.write("/etc/kubernetes/admin.conf")
    for name in COMPONENTS:
        fake.write(f"/etc/kubernetes/manifests/{name}.yaml", MANIFEST.format(name=name, flags="a", tag="v1"))
    fake.programs = {"kubeadm": KUBEADM, "kubectl": KUBECTL, "curl": ""}
    fake.write("/wanted", "a")
    return fake


def manifest(node: FakeNode, name: str) -> str:
    return (node.root / f"etc/kubernetes/manifests/{name}.yaml").read_text()


def check(node: FakeNode) -> Ran:
    before = {name: manifest(node, name) for name in COMPONENTS}
    ran = node.run(SCRIPT, "check", **ENVIRONMENT)
    assert {name: manifest(node, name) for name in COMPONENTS} == before, "check must change nothing"
    return ran


def apply(node: FakeNode) -> Ran:
    return node.run(SCRIPT, "apply", **ENVIRONMENT)


def test_a_node_that_has_not_joined_is_left_alone(tmp_path: Path) -> None:
    assert check_bare(FakeNode(tmp_path)).output.startswith("unchanged: no control plane yet")


def check_bare(node: FakeNode) -> Ran:
    ran = node.run(SCRIPT, "check", **ENVIRONMENT)
    assert ran.code == 0
    assert ran.calls == []
    return ran


def test_other_images_are_no_reason(node: FakeNode) -> None:
    ran = check(node)
    assert (ran.code, ran.output) == (
        0,
        f"unchanged: the static pods have the flags of {node.root}/etc/kubeadm/init.yaml\n",
    )
    assert all("--dry-run" in call for call in ran.calls if call.startswith("kubeadm"))


def test_new_flags_are_applied_and_told_to_those_who_join_later(node: FakeNode) -> None:
    node.write("/wanted", "b")
    assert check(node).output.endswith(f"init.yaml: {' '.join(COMPONENTS)}\n")
    ran = apply(node)
    assert ran.code == 0, ran.errors
    for name in COMPONENTS:
        assert manifest(node, name) == MANIFEST.format(name=name, flags="b", tag="v1"), "the version stays"
    assert [call for call in ran.calls if "upload-config" in call]
    assert not list((node.root / "etc/kubernetes/manifests").glob("*kept*"))
    assert check(node).code == 0


def test_only_what_differs_is_restarted(node: FakeNode) -> None:
    node.write("/wanted", "b")
    for name in COMPONENTS[1:]:
        node.write(f"/etc/kubernetes/manifests/{name}.yaml", MANIFEST.format(name=name, flags="b", tag="v1"))
    assert check(node).output.endswith("init.yaml: kube-apiserver\n")
    assert apply(node).output == "kube-apiserver runs with new flags\n"


@pytest.mark.parametrize("why", ["no new container", "not healthy"])
def test_what_does_not_come_back_gets_its_old_flags(node: FakeNode, why: str) -> None:
    node.write("/wanted", "b")
    if why == "no new container":
        node.write("/stuck-kube-apiserver")
    else:
        node.programs["curl"] = "exit 22"
    node.write("/var/log/pods/kube-system_kube-apiserver-master-1_uid/kube-apiserver/1.log", "unknown flag: --flags\n")
    ran = apply(node)
    assert ran.code == 2
    assert "kube-apiserver is not well within 2 s" in ran.errors
    assert "unknown flag: --flags. Correct the settings" in ran.errors
    for name in COMPONENTS:
        assert manifest(node, name) == MANIFEST.format(name=name, flags="a", tag="v1"), "nothing is left half done"
    assert not [call for call in ran.calls if "upload-config" in call]
