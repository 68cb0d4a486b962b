"""What a node can give to pods: waited for once, told when it is lost; against a real sshd with a stand-in for kubectl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from host import allocatable, asking
from host.allocatable import Seen
from host.errors import HostError, Unreachable
from host.values import UNKNOWN, plain
from tests.provider.conftest import ControlPlane, connection, run_with
from tests.support.provider import Engine, Known
from tests.support.ssh_server import SshServer

REMEDY = "Look at the node."


def nodes(server: SshServer, *lines: str) -> None:
    """What the API says: NODE READY AMOUNT each."""
    text = "".join("\\t".join((*line.split(), "", "")[:3]) + "\\n" for line in lines)
    server.program("kubectl", f"#!/bin/sh\nprintf '{text}'\n")


def inputs(server: SshServer, node: str = "gpu-1", amount: int = 1, deadline: int = 1) -> dict[str, Any]:
    return {
        "node": node,
        "resource": "nvidia.com/gpu",
        "amount": amount,
        "peers": [connection(server, "gone", port=1), connection(server)],
        "deadlineSeconds": deadline,
        "remedy": REMEDY,
    }


def reached(known: Known) -> int:
    found: int = plain(known.outputs)["reached"]
    return found


def test_the_resources_key_is_spelled_as_jsonpath_wants_it(control_plane: ControlPlane, key: Path) -> None:
    asked = r"*allocatable.nvidia\\.com/gpu*"
    control_plane.server.program(
        "kubectl", f"#!/bin/sh\ncase \"$*\" in {asked}) printf 'gpu-1\\tTrue\\t1\\n' ;; *) exit 9 ;; esac\n"
    )
    assert reached(run_with(key).create("Allocatable", "a", inputs(control_plane.server))) == 1


def test_a_node_that_has_it_is_waited_for_and_left_alone(control_plane: ControlPlane, key: Path) -> None:
    server = control_plane.server
    nodes(server, "master-1 True", "gpu-1 True 2")
    preview = run_with(key).create("Allocatable", "gpu-1-allocatable", inputs(server, amount=2), preview=True)
    assert preview.outputs["reached"].value == UNKNOWN
    known = run_with(key).create("Allocatable", "gpu-1-allocatable", inputs(server, amount=2))
    assert reached(known) == 2
    for changed in ({}, {"remedy": "other"}, {"deadlineSeconds": 9}, {"peers": [connection(server)]}):
        engine = run_with(key)
        assert engine.diff(known, inputs(server, amount=2) | changed) == [], changed
        assert engine.texts("WARNING") == ""
    assert run_with(key).diff(known, inputs(server, amount=3)) == ["amount"]


def test_a_gpu_that_comes_late_is_waited_for(control_plane: ControlPlane, key: Path) -> None:
    server = control_plane.server
    control_plane.put("a kubeconfig")
    server.program(
        "kubectl",
        "#!/bin/sh\necho x >>/etc/looks\nif [ $(wc -l </etc/looks) -gt 3 ]; then amount=1; fi\n"
        "printf 'gpu-1\\tTrue\\t%s\\n' $amount\n",
    )
    known = run_with(key).create("Allocatable", "gpu-1-allocatable", inputs(server, deadline=60))
    assert reached(known) == 1


def test_a_ready_node_without_its_gpus_stops_what_needs_them(control_plane: ControlPlane, key: Path) -> None:
    nodes(control_plane.server, "gpu-1 True 1")
    with pytest.raises(HostError) as caught:
        run_with(key).create("Allocatable", "gpu-1-allocatable", inputs(control_plane.server, amount=2))
    assert str(caught.value) == (
        "gpu-1: 1 nvidia.com/gpu allocatable after 1 s, wanted 2; what needs them would wait for ever. Look at the node."
    )


@pytest.mark.parametrize(
    ("line", "said"), [("gpu-1 Unknown 1", "the node is not ready"), ("gpu-2 True 1", "not in the cluster")]
)
def test_a_node_that_is_away_holds_up_nobody_and_is_looked_at_again(
    control_plane: ControlPlane, key: Path, line: str, said: str
) -> None:
    server = control_plane.server
    nodes(server, line)
    engine = run_with(key)
    known = engine.create("Allocatable", "gpu-1-allocatable", inputs(server, deadline=600))
    assert reached(known) == 0
    assert f"gpu-1: nvidia.com/gpu: {said}, wanted 1; pods that need it do not run there." in engine.texts("WARNING")
    assert run_with(key).diff(known, inputs(server)) == []
    nodes(server, "gpu-1 True 1")
    assert run_with(key).diff(known, inputs(server)) == ["reached"]
    assert reached(run_with(key).update(known, inputs(server))) == 1


def test_a_gpu_that_is_lost_is_told_and_plans_nothing(control_plane: ControlPlane, key: Path) -> None:
    server = control_plane.server
    nodes(server, "gpu-1 True 1")
    known = run_with(key).create("Allocatable", "gpu-1-allocatable", inputs(server))
    nodes(server, "gpu-1 True 0")
    engine = run_with(key)
    assert engine.diff(known, inputs(server)) == []
    assert engine.texts("WARNING").endswith(
        "gpu-1: nvidia.com/gpu: 0, wanted 1; pods that need it do not run there. Look at the node."
    )


def test_without_a_control_plane_nothing_is_known(control_plane: ControlPlane, key: Path) -> None:
    server = control_plane.server
    nodes(server, "gpu-1 True 1")
    known = run_with(key).create("Allocatable", "gpu-1-allocatable", inputs(server))
    control_plane.put(None)
    engine = run_with(key)
    assert engine.diff(known, inputs(server)) == []
    assert "gpu-1: unknown: nvidia.com/gpu: no control plane could tell what the nodes have" in engine.texts("WARNING")
    with pytest.raises(Unreachable, match="not a control plane"):
        run_with(key).create("Allocatable", "gpu-1-allocatable", inputs(server))
    assert Engine({"contact": "never"}).diff(known, inputs(server)) == []


def test_one_look_serves_all_nodes(control_plane: ControlPlane, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LOOK_SECONDS", 60.0)
    server = control_plane.server
    nodes(server, *(f"gpu-{n} True 1" for n in range(5)))
    engine = run_with(key)
    wanted = [inputs(server, f"gpu-{n}") for n in range(5)]
    made = engine.together(*(engine.create_async("Allocatable", each["node"], each) for each in wanted))
    assert [reached(known) for known in made if isinstance(known, Known)] == [1] * 5
    assert server.sessions() == 1


def test_what_a_control_plane_prints() -> None:
    assert allocatable.parse("a\tTrue\t2\nb\tFalse\t\n") == {"a": Seen(True, True, 2), "b": Seen(False, True, 0)}
