"""tools/doctor over real SSH: everything is asked, what hangs or is away is told, and nobody waits for it."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.settings import Settings
from tests.support import doctor
from tests.support.settings import VALID
from tests.support.ssh_server import SshServer, free_port
from tools.doctor.collect import Asker
from tools.doctor.report import report
from tools.doctor.seen import Cluster, Node, Seen
from tools.machines import Machines

# Answers as the API server's own kubectl does, an object a line; which ones is the second word behind its flags.
KUBECTL = """\
#!/bin/bash
[[ ! -e {folder}/hang ]] || sleep 20
for word; do
  case $word in
    nodes) exec sed -n '/^node/p' {folder}/cluster ;;
    daemonsets) exec sed -n '/^workload/p' {folder}/cluster ;;
    hpa) exec sed -n '/^hpa/p' {folder}/cluster ;;
    pods) exec sed -n '/^pod/p' {folder}/cluster ;;
    servicel2statuses.metallb.io) echo 'error: the server does not have a resource type' >&2; exit 1 ;;
    service) echo -n 192.168.1.200; exit ;;
  esac
done
"""


class Place:
    """One sshd that is every node of the list but those that are away."""

    def __init__(self, root: Path, key: Path) -> None:
        self.root, self.key = root, key
        self.server = SshServer(
            root / "sshd", key, mounts={"/etc": f"overlay {root}/etc", "/var/lib": f"overlay {root}/var"}
        )
        (root / "cluster").write_text(doctor.CLUSTER)
        self.server.program("kubectl", KUBECTL.format(folder=root))

    def settings(self, away: str = "") -> Settings:
        values = copy.deepcopy(VALID)
        for node in values["nodes"]:
            gone = node["name"] == away
            node |= {
                "address": "127.0.0.1",
                "port": free_port() if gone else self.server.port,
                "hostKeys": [self.server.host_key()],
            }
        values["ssh"] = {"connectTimeoutSeconds": 2}
        values["ingress"] = {"address": "127.0.0.1", "tls": {"kind": "none"}}
        # Loopback addresses are refused as nodes; these have no others.
        return Settings.model_validate(values)

    def look(self, seconds: float = 30, away: str = "") -> Seen:
        settings = self.settings(away)
        return asyncio.run(Asker(settings, Machines(settings, self.key.read_text()), seconds).look(None))


@pytest.fixture
def place(tmp_path: Path, key: Path) -> Iterator[Place]:
    made = Place(tmp_path, key)
    with made.server:
        made.server.inside("mkdir -p /etc/kubernetes && echo x >/etc/kubernetes/admin.conf")
        yield made


def test_every_node_and_the_cluster_answer(place: Place) -> None:
    place.server.inside("mkdir -p /var/lib/qwen3-vl/models/revisions/r1 /var/lib/qwen3-vl-backups/own")
    place.server.inside("echo x >/var/lib/qwen3-vl-backups/own/etcd-master-1-20260301T080512Z.cms")
    seen = place.look()
    assert set(seen.reached) == {node.name for node in seen.settings.nodes}, seen.nodes
    for name in ("gpu-1", "storage-1"):
        node = seen.reached[name]
        assert node.disk is not None
        assert node.disk[0] >= node.disk[1] > 0
        assert abs(node.facts["clockOffsetSeconds"]) < 1
        assert node.said.one("firewall") in ("absent", "unchanged: on") or node.said.one("firewall").startswith(
            "drifted: "
        )
    assert seen.reached["gpu-1"].said.one("revision") == "r1"
    assert not seen.reached["storage-1"].said.one("revision"), "only workers have copies"
    assert seen.reached["master-2"].said.pairs("snapshot") == {"etcd-master-1-20260301T080512Z.cms": "2"}
    assert set(seen.reached["gpu-1"].said.pairs("api")) == {"address"}
    assert set(seen.reached["master-1"].said.pairs("api")) == {"address", "own"}
    assert isinstance(seen.cluster, Cluster)
    assert seen.cluster.members["gpu-1"].ready == "True"
    assert seen.cluster.workload("default", "redis-proxy") is not None
    assert seen.cluster.address == "192.168.1.200"
    rows = doctor.found(seen)
    assert rows["web UI and engine"].status == "ok"
    assert rows["model gpu-1"].status == "ok"
    # The pods' pages and the gateway are nowhere here, and say so.
    assert rows["alerts"].status == "unknown"
    assert "curl" in rows["alerts"].text


def test_a_node_that_is_away_is_named_and_the_others_answer(place: Place) -> None:
    started = time.monotonic()
    seen = place.look(away="gpu-2")
    assert isinstance(seen.nodes["gpu-2"], str)
    assert seen.nodes["gpu-2"].startswith("gpu-2: ")
    assert len(seen.reached) == len(seen.settings.nodes) - 1
    assert time.monotonic() - started < 25


def test_a_control_plane_that_is_away_is_passed_over(place: Place) -> None:
    seen = place.look(away="master-1")
    assert isinstance(seen.cluster, Cluster)
    assert seen.cluster.through != "master-1"


def test_what_hangs_is_not_waited_for(place: Place) -> None:
    (place.root / "hang").touch()
    place.server.program("df", "#!/bin/bash\nsleep 20\n")
    seen = place.look(seconds=6)
    assert seen.cluster == "no answer within 6 s"
    assert set(seen.nodes.values()) == {"no answer within 6 s"}
    assert {row.status for row in report(seen)} <= {"unknown", "critical", "ok"}
    (place.root / "hang").unlink()


def test_no_node_is_changed(place: Place) -> None:
    """By what the overlays hold afterwards."""
    before = sorted(str(path) for path in place.root.glob("*/upper/**/*"))
    assert isinstance(place.look().nodes["master-1"], Node)
    assert sorted(str(path) for path in place.root.glob("*/upper/**/*")) == before


def test_the_scripts_print_no_secret(place: Place) -> None:
    place.server.inside(
        "mkdir -p /etc/kubernetes/pki && echo CANARY >/etc/kubernetes/pki/ca.key && echo CANARY >/etc/kubernetes/admin.conf"
    )
    place.server.inside(
        "echo 'client-key-data: CANARY' >>/etc/kubernetes/admin.conf && echo CANARY >/etc/kubernetes/pki/apiserver.crt"
    )
    assert "CANARY" not in repr(place.look())
