"""rotate_encryption_key.sh by table: what each round does on a node, wherever a killed run has left it; no key is ever lost."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.scripts import ROOT, FakeNode, Ran

SCRIPT = "components/cluster/scripts/rotate_encryption_key.sh"
FILE = "/etc/kubernetes/apiserver/encryption.yaml"
OLD, NEW, OTHER = (base64.b64encode(bytes([byte]) * 32).decode() for byte in b"one")
ROUNDS = ("offer", "use", "rewrite", "drop")
# The API server works with the file as it is, unless it is `deaf`; etcd holds Secrets by the key of each line in `stored`.
KUBECTL = """\
file=$NODE_ROOT/etc/kubernetes/apiserver/encryption.yaml
case $* in
*/metrics)
  if [[ -e $NODE_ROOT/deaf ]]; then digest=other; else digest=$(sha256sum <"$file" | cut -d' ' -f1); fi
  if [[ -e $NODE_ROOT/1.33 ]]; then
    printf 'process_start_time_seconds 1.7e+09\\n'
    status=success time=9999999999
    if [[ $digest == other ]]; then time=1; fi
    printf 'apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds{status="%s"} %s\\n' $status $time
  else
    printf 'apiserver_encryption_config_controller_last_config_info{apiserver_id_hash="sha256:me",hash="sha256:%s"} 1\\n' $digest
  fi ;;
*exec*)
  if [[ -e $NODE_ROOT/etcd-away ]]; then exit 1; fi
  number=0
  while read -r key; do
    number=$((number + 1))
    printf '/registry/secrets/default/s%s\\nk8s:enc:secretbox:v1:%s:\\377\\n\\001/\\n' $number $key
  done <"$NODE_ROOT/stored" ;;
*replace*)
  cat >/dev/null
  first=$(sed -n 's/^ *- name: //p' "$file" | head -n 1)
  if [[ -e $NODE_ROOT/conflict ]]; then rm "$NODE_ROOT/conflict"; exit 1; fi
  if [[ ! -e $NODE_ROOT/stuck ]]; then sed -i "s/.*/$first/" "$NODE_ROOT/stored"; fi ;;
*get\\ secrets*) echo '{"items": []}' ;;
esac
"""


def file(*keys: tuple[str, str]) -> str:
    """What joining makes: the keys in their order."""
    head = (
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources:\n  - secrets\n"
        "  providers:\n  - secretbox:\n      keys:\n"
    )
    lines = "".join(f"      - name: {name}\n        secret: {secret}\n" for name, secret in keys)
    return f"{head}{lines}  - identity: {{}}\n"


def make(root: Path, *keys: tuple[str, str], stored: tuple[str, ...] = ("key1", "key1")) -> FakeNode:
    fake = FakeNode(root)
    fake.write("/etc/kubernetes/admin.conf")
    fake.write(
        "/etc/kubernetes/manifests/kube-apiserver.yaml", "  - --advertise-address=192.0.2.11\n  - --secure-port=6443\n"
    )
    fake.write("/etc/kubernetes/manifests/etcd.yaml", "  - --name=master-1\n")
    fake.write(FILE, file(*keys))
    fake.write("/stored", "".join(f"{key}\n" for key in stored))
    fake.programs = {"kubectl": KUBECTL, "sleep": ""}
    return fake


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    """A control plane as it was joined."""
    return make(tmp_path, ("key1", OLD))


def keys(node: FakeNode) -> list[tuple[str, str]]:
    """The names and secrets in their order; the file is one that the API server takes."""
    path = node.root / FILE.lstrip("/")
    (resource,) = yaml.safe_load(path.read_text())["resources"]
    secretbox, plain = resource["providers"]
    assert (resource["resources"], plain) == (["secrets"], {"identity": {}})
    return [(key["name"], key["secret"]) for key in secretbox["secretbox"]["keys"]]


def check(node: FakeNode, generation: int = 2) -> Ran:
    return node.run(SCRIPT, "check", GENERATION=str(generation))


def turn(node: FakeNode, each: str, given: str = "", generation: int = 2) -> Ran:
    ran = node.run(SCRIPT, "apply", given, GENERATION=str(generation), ROUND=each, READY_SECONDS="2")
    for _, secret in keys(node):
        assert secret not in "\n".join(ran.calls) + ran.errors
    return ran


def whole(*nodes: FakeNode, rounds: tuple[str, ...] = ROUNDS) -> None:
    """What the provider does."""
    for each in rounds:
        given = ""
        for node in nodes:
            ran = turn(node, each, given)
            assert ran.code == 0, ran.errors
            given = given or ran.output


def test_a_node_that_is_no_control_plane_yet_is_left_alone(tmp_path: Path) -> None:
    ran = FakeNode(tmp_path).run(SCRIPT, "check", GENERATION="2")
    assert (ran.code, ran.calls) == (0, [])
    assert ran.output.startswith("unchanged: no control plane yet")


def test_the_key_of_the_start_is_the_first_generation(node: FakeNode) -> None:
    assert check(node, 1).output == "unchanged: Secrets are encrypted with key1\n"
    ran = check(node)
    assert (ran.code, ran.output) == (1, "drifted: Secrets are to be encrypted with key2 alone, there is key1\n")


def test_each_round_keeps_what_can_still_be_asked_for(node: FakeNode) -> None:
    ran = turn(node, "offer")
    (first, (name, new)) = keys(node)
    assert (first, name, len(base64.b64decode(new, validate=True))) == (("key1", OLD), "key2", 32)
    assert base64.b64decode(ran.output).decode() == (node.root / FILE.lstrip("/")).read_text()
    assert (node.root / FILE.lstrip("/")).stat().st_mode & 0o777 == 0o600
    assert turn(node, "use").code == 0
    assert keys(node) == [("key2", new), ("key1", OLD)]
    assert turn(node, "rewrite").code == 0
    assert (node.root / "stored").read_text() == "key2\nkey2\n"
    assert turn(node, "drop").code == 0
    assert keys(node) == [("key2", new)]
    assert check(node).code == 0


def test_all_control_planes_get_one_key(tmp_path: Path) -> None:
    nodes = [make(tmp_path / str(number), ("key1", OLD), stored=()) for number in range(3)]
    whole(*nodes)
    assert len({tuple(keys(node)) for node in nodes}) == 1
    assert keys(nodes[0])[0][0] == "key2"


@pytest.mark.parametrize("done", range(1, 8))
def test_a_killed_run_is_finished_by_the_next(tmp_path: Path, done: int) -> None:
    """After any number of turns a run from the beginning ends the same, and what was used once is never another key."""
    nodes = [make(tmp_path / str(number), ("key1", OLD), stored=("key1",)) for number in range(2)]
    turns = [(each, node) for each in ROUNDS for node in nodes]
    given = ""
    for each, node in turns[:done]:
        ran = turn(node, each, given if each == "offer" else "")
        assert ran.code == 0, ran.errors
        given = given or ran.output
    drawn = dict(keys(nodes[0]))["key2"]
    whole(*nodes)
    assert [keys(node) for node in nodes] == [[("key2", drawn)]] * 2


def test_a_key_that_nobody_has_used_gives_way_to_the_first_nodes(node: FakeNode, tmp_path: Path) -> None:
    """A killed run had offered it, then its first control plane was replaced by one that has not heard of it."""
    node.write(FILE, file(("key1", OLD), ("key2", OTHER)))
    given = base64.b64encode(file(("key1", OLD), ("key2", NEW)).encode()).decode()
    assert turn(node, "offer", given).code == 0
    assert keys(node) == [("key1", OLD), ("key2", NEW)]


def test_a_key_in_use_is_never_exchanged_for_another_of_its_name(node: FakeNode) -> None:
    node.write(FILE, file(("key2", OTHER), ("key1", OLD)))
    given = base64.b64encode(file(("key1", OLD), ("key2", NEW)).encode()).decode()
    ran = turn(node, "offer", given)
    assert ran.code == 2
    assert "one of them is not of this cluster" in ran.errors
    assert keys(node) == [("key2", OTHER), ("key1", OLD)]


def test_back_to_the_number_before_in_the_middle(node: FakeNode) -> None:
    node.write(FILE, file(("key2", NEW), ("key1", OLD)))
    node.write("/stored", "key1\nkey2\n")
    for each in ROUNDS:
        assert turn(node, each, generation=1).code == 0
    assert keys(node) == [("key1", OLD)]
    assert (node.root / "stored").read_text() == "key1\nkey1\n"


@pytest.mark.parametrize("version", ["1.33", "1.34"])
@pytest.mark.parametrize("each", ["offer", "use", "drop"])
def test_no_round_ends_before_the_api_server_works_with_the_file(tmp_path: Path, each: str, version: str) -> None:
    order = [("key1", OLD), ("key2", NEW)]
    node = make(tmp_path, *(order if each == "use" else order[::-1]), stored=("key2",))
    node.write(f"/{version}")
    node.write("/deaf")
    ran = turn(node, each)
    assert ran.code == 2
    assert "does not work with the keys" in ran.errors
    assert ran.output == ""
    (node.root / "deaf").unlink()
    assert turn(node, each).code == 0


@pytest.mark.parametrize("why", ["stored", "etcd-away"])
def test_no_key_is_dropped_while_etcd_may_need_it(tmp_path: Path, why: str) -> None:
    node = make(tmp_path, ("key2", NEW), ("key1", OLD), stored=("key2", "key1") if why == "stored" else ("key2",))
    if why == "etcd-away":
        node.write("/etcd-away")
    ran = turn(node, "drop")
    assert ran.code == 2
    assert "so no key is dropped" in ran.errors
    assert keys(node) == [("key2", NEW), ("key1", OLD)]


def test_a_secret_that_somebody_changes_meanwhile_is_rewritten_the_next_time(tmp_path: Path) -> None:
    node = make(tmp_path, ("key2", NEW), ("key1", OLD))
    node.write("/conflict")
    assert turn(node, "rewrite").code == 0
    assert (node.root / "stored").read_text() == "key2\nkey2\n"


def test_secrets_that_cannot_be_rewritten_are_told_of(tmp_path: Path) -> None:
    node = make(tmp_path, ("key2", NEW), ("key1", OLD))
    node.write("/stuck")
    ran = turn(node, "rewrite")
    assert ran.code == 2
    assert "(all, with key2: 2 0)" in ran.errors


@pytest.mark.parametrize("each", ["use", "drop"])
def test_a_round_without_the_ones_before_changes_nothing(node: FakeNode, each: str) -> None:
    before = keys(node)
    assert turn(node, each).code == 2
    assert keys(node) == before


@pytest.mark.parametrize(
    "text",
    [
        "kind: EncryptionConfiguration\nresources: [{resources: [secrets], providers: [{identity: {}}]}]\n",
        file(("key1", OLD)).replace("secretbox", "aescbc"),
        file(("mine", OLD)).replace("  - secrets\n", "  - secrets\n  - configmaps\n"),
    ],
    ids=["none", "another cipher", "of more than Secrets"],
)
def test_keys_made_by_other_means_are_left_alone(node: FakeNode, text: str) -> None:
    node.write(FILE, text)
    ran = check(node, 1)
    assert ran.code == 0
    assert ran.output.endswith("was made by other means and is left alone\n")
    ran = node.run(SCRIPT, "apply", GENERATION="2", ROUND="offer")
    assert ran.code == 2
    assert "was made by other means, so its keys cannot be changed here" in ran.errors
    assert (node.root / FILE.lstrip("/")).read_text() == text


def test_what_joining_makes_is_of_this_form(node: FakeNode) -> None:
    script = (ROOT / "components/cluster/scripts/join_control_plane.sh").read_text()
    (function,) = re.findall(r"^new_encryption\(\) \{\n.*?^\}\n", script, re.MULTILINE | re.DOTALL)
    made = subprocess.run(["bash", "-c", f"{function}new_encryption"], check=True, capture_output=True, text=True)
    node.write(FILE, made.stdout)
    assert check(node, 1).output == "unchanged: Secrets are encrypted with key1\n"
