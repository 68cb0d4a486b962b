"""A DaemonSet's roll-out: waited for on the nodes that are there; against a real sshd with a stand-in for kubectl."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from host import daemons
from host.daemons import Progress
from host.errors import HostError, Unreachable
from host.values import UNKNOWN, plain
from tests.provider.conftest import ControlPlane, connection, run_with
from tests.support.provider import Engine, Known
from tests.support.ssh_server import SshServer

REMEDY = "Look at the pods."
KUBECTL = """\
#!/bin/sh
case "$*" in
*"get daemonset -n default model-cache "*) printf '%b' '{set}' ;;
*"get controllerrevisions -n default "*) printf 'uid-1\\t1\\told\\nuid-1\\t3\\tnew\\nuid-1\\t2\\told2\\nother\\t9\\tforeign\\n' ;;
*"get nodes "*) printf '%b' '{nodes}' ;;
*"get pods -n default "*) printf '%b' '{pods}' ;;
*) exit 9 ;;
esac
"""


def cluster(
    server: SshServer,
    nodes: Sequence[str],
    pods: Sequence[str],
    wanted: int = 2,
    generation: int = 4,
    observed: int = 4,
) -> None:
    """What the API says. Nodes: NAME READY; pods: NODE READY HASH [DELETED]. A pod of somebody else is always among them."""
    rows = [pod.split() for pod in pods]
    own = ["\\t".join(("uid-1", *[*row, ""][:4])) + "\\n" for row in rows]
    text = KUBECTL.format(
        set=f"uid-1\\t{generation}\\t{observed}\\t{wanted}",
        nodes="".join(node.replace(" ", "\\t") + "\\n" for node in nodes),
        pods="".join(["other\\tgpu-1\\tFalse\\tforeign\\t\\n", *own]),
    )
    server.program("kubectl", text)


def inputs(server: SshServer, generation: int = 4, deadline: int = 1) -> dict[str, Any]:
    return {
        "namespace": "default",
        "daemonSet": "model-cache",
        "generation": generation,
        "peers": [connection(server, "gone", port=1), connection(server)],
        "deadlineSeconds": deadline,
        "remedy": REMEDY,
    }


def passed_over(known: Known) -> list[str]:
    found: list[str] = plain(known.outputs)["passedOver"]
    return found


BOTH = ("gpu-1 True", "gpu-2 True")


def test_a_roll_out_that_is_complete_is_left_alone_until_the_next(control_plane: ControlPlane, key: Path) -> None:
    server = control_plane.server
    cluster(server, BOTH, ("gpu-1 True new", "gpu-2 True new"))
    preview = run_with(key).create("DaemonsReady", "model-cache-filled", inputs(server), preview=True)
    assert preview.outputs["passedOver"].value == UNKNOWN
    known = run_with(key).create("DaemonsReady", "model-cache-filled", inputs(server))
    assert passed_over(known) == []
    for changed in ({}, {"remedy": "other"}, {"deadlineSeconds": 9}, {"peers": [connection(server)]}):
        assert run_with(key).diff(known, inputs(server) | changed) == [], changed
    assert run_with(key).diff(known, inputs(server, generation=5)) == ["generation"]


@pytest.mark.parametrize(
    ("pods", "where"),
    [
        (("gpu-1 True new", "gpu-2 False new"), "gpu-2: no pod of"),
        (("gpu-1 True new", "gpu-2 True old"), "gpu-2: no pod of"),
        (("gpu-1 True new", "gpu-2 True new 2026-11-25T00:00:00Z"), "gpu-2: no pod of"),
        (("gpu-1 True new",), "nodes: too few pods of"),
    ],
    ids=["not ready", "of the old template", "on its way out", "not made yet"],
)
def test_a_node_that_is_there_and_not_done_stops_what_needs_it(
    control_plane: ControlPlane, key: Path, pods: Sequence[str], where: str
) -> None:
    cluster(control_plane.server, BOTH, pods)
    with pytest.raises(HostError) as caught:
        run_with(key).create("DaemonsReady", "model-cache-filled", inputs(control_plane.server))
    said = str(caught.value)
    assert said.startswith(f"{where} default/model-cache is ready after 1 s (1 of 2 nodes")
    assert said.endswith("what needs them would fail there. Look at the pods.")


def test_a_roll_out_the_controller_has_not_seen_is_not_complete(control_plane: ControlPlane, key: Path) -> None:
    cluster(control_plane.server, BOTH, ("gpu-1 True new", "gpu-2 True new"), generation=5)
    with pytest.raises(HostError, match=r"is ready after 1 s \(not begun\)"):
        run_with(key).create("DaemonsReady", "model-cache-filled", inputs(control_plane.server))


def test_an_old_pod_on_its_way_out_does_not_hide_the_new_one(control_plane: ControlPlane, key: Path) -> None:
    pods = ("gpu-1 True new", "gpu-2 False old 2026-11-25T00:00:00Z", "gpu-2 True new")
    cluster(control_plane.server, BOTH, pods)
    known = run_with(key).create("DaemonsReady", "model-cache-filled", inputs(control_plane.server, deadline=60))
    assert passed_over(known) == []


@pytest.mark.parametrize("wanted", [1, 2], ids=["not counted by the controller", "counted by it"])
def test_a_dead_node_holds_up_nobody_and_is_looked_at_again(
    control_plane: ControlPlane, key: Path, wanted: int
) -> None:
    server = control_plane.server
    dead = ("gpu-1 True", "gpu-2 Unknown")
    cluster(server, dead, ("gpu-1 True new", "gpu-2 True old"), wanted=wanted)
    engine = run_with(key)
    known = engine.create("DaemonsReady", "model-cache-filled", inputs(server, deadline=600))
    assert passed_over(known) == ["gpu-2"]
    assert "gpu-2: not ready, so what default/model-cache does there is unknown" in engine.texts("WARNING")
    engine = run_with(key)
    assert engine.diff(known, inputs(server)) == []
    assert "gpu-2: not ready" in engine.texts("WARNING")
    cluster(server, BOTH, ("gpu-1 True new", "gpu-2 True new"))
    assert run_with(key).diff(known, inputs(server)) == ["passedOver"]
    assert passed_over(run_with(key).update(known, inputs(server))) == []


def test_without_a_control_plane_nothing_is_known(control_plane: ControlPlane, key: Path) -> None:
    server = control_plane.server
    cluster(server, ("gpu-1 True", "gpu-2 False"), ("gpu-1 True new", "gpu-2 True old"))
    known = run_with(key).create("DaemonsReady", "model-cache-filled", inputs(server, deadline=600))
    control_plane.put(None)
    engine = run_with(key)
    assert engine.diff(known, inputs(server)) == []
    assert "unknown: default/model-cache: no control plane could tell how far it is" in engine.texts("WARNING")
    with pytest.raises(Unreachable, match="not a control plane"):
        run_with(key).create("DaemonsReady", "model-cache-filled", inputs(server))
    assert Engine({"contact": "never"}).diff(known, inputs(server)) == []


def test_many_nodes_are_counted_rather_than_listed() -> None:
    text = "wanted\t9\n" + "".join(f"n{number}\tTrue\tFalse\tTrue\n" for number in range(9))
    assert str(daemons.parse(text)) == "0 of 9 nodes, waiting for n0, n1, n2, n3, n4 and 4 more"
    assert daemons.parse("wanted\t\n") == Progress(None)
