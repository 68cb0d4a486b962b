"""Another key for Secrets in etcd, with two real API servers on one etcd: both are asked all the time, and neither ever fails."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.support.kubernetes import ApiServer, Clients, Etcd, programs, service_account_key
from tests.support.scripts import ROOT, FakeNode

SCRIPT = "components/cluster/scripts/rotate_encryption_key.sh"
JOIN = "components/cluster/scripts/join_control_plane.sh"
FILE = "etc/kubernetes/apiserver/encryption.yaml"
ROUNDS = ("offer", "use", "rewrite", "drop")
# kubectl's own, but that a command in etcd's pod runs here: there is no kubelet.
KUBECTL = """\
if [[ $* == *" exec "* ]]; then exec {etcdctl} --endpoints {etcd} "${{@: -3}}"; fi
exec {kubectl} "$@"
"""


class Cluster:
    """One etcd, two API servers, and for each of these the folder of its node."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        found = programs("kubernetes", "etcd")
        self.etcd = stack.enter_context(Etcd(found["etcd"], found["etcdctl"]))
        key = service_account_key(root / "service-account.key")
        self.nodes = [FakeNode(root / name, patience=900) for name in ("master-1", "master-2")]
        self.servers, keys = [], first_keys()
        for node in self.nodes:
            (node.root / FILE).parent.mkdir(parents=True)
            (node.root / FILE).write_bytes(keys)
            server = ApiServer(found["kube-apiserver"], self.etcd, node.root / FILE, key)
            # One after another, as they look at their files at another second of the minute.
            self.servers.append(stack.enter_context(server))
            flags = f"  - --advertise-address=127.0.0.1\n  - --secure-port={server.port}\n"
            node.write("/etc/kubernetes/manifests/kube-apiserver.yaml", flags)
            node.write("/etc/kubernetes/manifests/etcd.yaml", "  - --name=master\n")
            node.write("/etc/kubernetes/admin.conf", server.kubeconfig())
            program = {"etcdctl": found["etcdctl"], "kubectl": found["kubectl"], "etcd": self.etcd.url}
            node.programs = {"kubectl": KUBECTL.format(**program)}

    def turn(self, number: int, each: str, given: str = "") -> str:
        ran = self.nodes[number].run(SCRIPT, "apply", given, GENERATION="2", ROUND=each, READY_SECONDS="600")
        assert ran.code == 0, ran.errors
        return ran.output

    def keys(self) -> list[list[str]]:
        """The names on each node."""
        texts = [yaml.safe_load((node.root / FILE).read_text()) for node in self.nodes]
        return [[key["name"] for key in text["resources"][0]["providers"][0]["secretbox"]["keys"]] for text in texts]


def first_keys() -> bytes:
    """What joining makes where the cluster starts, by its own lines."""
    (function,) = re.findall(r"^new_encryption\(\) \{\n.*?^\}\n", (ROOT / JOIN).read_text(), re.MULTILINE | re.DOTALL)
    return subprocess.run(["bash", "-c", f"{function}new_encryption"], check=True, capture_output=True).stdout


def keys_of(etcd: Etcd) -> set[bytes]:
    """How what lies there was encrypted, and with which key."""
    return {b":".join(value.split(b":", 5)[:5]) for value in etcd.secrets().values()}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path, stack)


def test_all_secrets_get_another_key_while_both_api_servers_are_asked(cluster: Cluster) -> None:
    first, second = cluster.servers
    for number in range(600):  # more than kubectl reads at once
        first.put_secret(f"kept-{number}", str(number))
    assert keys_of(cluster.etcd) == {b"k8s:enc:secretbox:v1:key1"}
    processes = (first.pid, second.pid)
    with Clients((first, second)) as clients:
        # A run that is killed when the first control plane writes with the new key and the second does not.
        given = cluster.turn(0, "offer")
        cluster.turn(1, "offer", given)
        cluster.turn(0, "use")
        assert cluster.keys() == [["key2", "key1"], ["key1", "key2"]]
        for each in ROUNDS:
            given = ""
            for number in range(2):
                given = cluster.turn(number, each, given) or given
    print(f"{clients.done} writes and reads")
    assert clients.failed == []
    assert clients.done > 100
    assert (first.pid, second.pid) == processes
    assert cluster.keys() == [["key2"], ["key2"]]
    assert keys_of(cluster.etcd) == {b"k8s:enc:secretbox:v1:key2"}
    assert len(cluster.etcd.secrets()) >= 600
    for server in (first, second):
        assert [server.secret(f"kept-{number}") for number in range(0, 600, 50)] == [str(n) for n in range(0, 600, 50)]
