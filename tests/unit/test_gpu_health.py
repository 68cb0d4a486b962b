"""Which nodes are tainted for sick GPUs: tables over what was seen, for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_api import ApiError
from gpu_health.api import TAINT_EFFECT, TAINT_KEY, Api, read, with_taint, without_taint
from gpu_health.controller import Controller
from gpu_health.decision import Decision, Seen, Streak, decide

from components.naming import GPU, SICK_GPU_TAINT

PATIENCE = 60.0
WHOLE = Seen(gpus=4, ready=True, cordoned=False, tainted=False)
SHORT = replace(WHOLE, gpus=3)
OTHERS = {f"other-{number}": WHOLE for number in range(3)}


def after(seconds: float, first: Seen, later: Seen | None = None, *, others: dict[str, Seen] | None = None) -> Decision:
    """Node `n`, which should have 4 GPUs, seen as `first`, and `seconds` afterwards as `later`."""
    rest = OTHERS if others is None else others
    wanted = dict.fromkeys(["n", *rest], 4)
    start = decide(wanted, {"n": first, **rest}, {}, 100.0, PATIENCE)
    assert (start.add, start.remove, start.held_back) == ((), (), ()), "one look is never enough"
    return decide(wanted, {"n": later or first, **rest}, start.streaks, 100.0 + seconds, PATIENCE)


@pytest.mark.parametrize(
    ("why", "node", "seconds", "add", "remove"),
    [
        ("whole", WHOLE, 60, False, False),
        ("more than it should have", replace(WHOLE, gpus=5), 60, False, False),
        ("short for too little time", SHORT, 59.9, False, False),
        ("short for long enough", SHORT, 60, True, False),
        ("none left", replace(WHOLE, gpus=0), 60, True, False),
        ("short and tainted", replace(SHORT, tainted=True), 600, False, False),
        ("whole again for too little time", replace(WHOLE, tainted=True), 59.9, False, False),
        ("whole again for long enough", replace(WHOLE, tainted=True), 60, False, True),
        ("short and not ready", replace(SHORT, ready=False), 600, False, False),
        ("whole, tainted and not ready", replace(WHOLE, tainted=True, ready=False), 600, False, False),
        ("no plugin has ever registered", replace(SHORT, gpus=None), 600, False, False),
        ("short while cordoned, as during an exchange of its driver", replace(SHORT, cordoned=True), 600, False, False),
        ("whole again while cordoned", replace(WHOLE, tainted=True, cordoned=True), 60, False, True),
    ],
)
def test_one_node_among_whole_ones(why: str, node: Seen, seconds: float, add: bool, remove: bool) -> None:
    found = after(seconds, node)
    assert (found.add, found.remove) == (("n",) if add else (), ("n",) if remove else ())
    assert found.held_back == ()


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (SHORT, WHOLE),
        (replace(WHOLE, tainted=True), replace(SHORT, tainted=True)),
        (replace(SHORT, ready=False), SHORT),
        (replace(SHORT, cordoned=True), SHORT),
        (replace(SHORT, gpus=None), SHORT),
    ],
)
def test_what_changed_on_the_way_begins_anew(first: Seen, later: Seen) -> None:
    found = after(600, first, later)
    assert (found.add, found.remove) == ((), ())
    assert found.streaks["n"] == Streak(later.gpus != 4, 700.0)


def test_fewer_gpus_are_still_the_same_shortage() -> None:
    assert after(60, SHORT, replace(SHORT, gpus=1)).add == ("n",)


def test_a_node_that_left_the_cluster_is_forgotten() -> None:
    wanted = {"n": 4, **dict.fromkeys(OTHERS, 4)}
    start = decide(wanted, {"n": SHORT, **OTHERS}, {}, 0.0, PATIENCE)
    gone = decide(wanted, OTHERS, start.streaks, 30.0, PATIENCE)
    assert "n" not in gone.streaks
    assert decide(wanted, {"n": SHORT, **OTHERS}, gone.streaks, 60.0, PATIENCE).add == ()


DEAD, CORDONED = replace(WHOLE, ready=False), replace(WHOLE, cordoned=True)
MARKED = replace(SHORT, tainted=True)


@pytest.mark.parametrize(
    ("why", "others", "tainted"),
    [
        ("the only node", [], False),
        ("one of two", [WHOLE], True),
        ("one of three", [WHOLE, WHOLE], True),
        ("the other one is tainted", [MARKED], False),
        ("the other one is dead", [DEAD], False),
        ("the other one is cordoned", [CORDONED], False),
        ("the second of three", [MARKED, WHOLE], False),
        ("the second of four", [MARKED, WHOLE, WHOLE], True),
        ("the third of four", [MARKED, MARKED, WHOLE], False),
        ("a dead one and this one of four", [DEAD, WHOLE, WHOLE], True),
        ("another that was never set up stays open", [replace(WHOLE, gpus=None)], True),
    ],
)
def test_at_least_half_of_the_nodes_stay_open(why: str, others: list[Seen], tainted: bool) -> None:
    found = after(60, SHORT, others={f"o{number}": node for number, node in enumerate(others)})
    assert (found.add, found.held_back) == ((("n",), ()) if tainted else ((), ("n",)))


def test_who_is_short_for_a_moment_only_counts_as_well() -> None:
    """Nodes that are lost to a broken plugin one after another are not due in the same turn."""
    wanted = {"a": 4, "b": 4}
    first = decide(wanted, {"a": SHORT, "b": WHOLE}, {}, 0.0, PATIENCE)
    found = decide(wanted, {"a": SHORT, "b": SHORT}, first.streaks, PATIENCE, PATIENCE)
    assert (found.add, found.held_back) == ((), ("a",))
    later = decide(wanted, {"a": SHORT, "b": WHOLE}, found.streaks, PATIENCE + 1, PATIENCE)
    assert later.add == ("a",)


def test_many_at_once_are_all_held_back_and_those_that_are_well_are_still_let_go() -> None:
    """A broken plugin everywhere: not even the half that could be tainted is."""
    nodes = {f"n{number}": SHORT for number in range(5)} | {"well": replace(WHOLE, tainted=True)}
    wanted = dict.fromkeys(nodes, 4)
    found = decide(wanted, nodes, decide(wanted, nodes, {}, 0.0, PATIENCE).streaks, PATIENCE, PATIENCE)
    assert found.add == ()
    assert found.held_back == ("n0", "n1", "n2", "n3", "n4")
    assert found.remove == ("well",)


def test_nothing_else_than_its_own_taint_is_touched() -> None:
    foreign: list[dict[str, Any]] = [
        {"key": TAINT_KEY, "effect": "NoExecute"},
        {"key": "example.com/rack", "value": "a", "effect": TAINT_EFFECT},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-11-25T00:00:00Z"},
    ]
    node = {"spec": {"taints": foreign}}
    tainted = {"spec": {"taints": with_taint(node)}}
    assert tainted["spec"]["taints"] == [*foreign, {"key": TAINT_KEY, "effect": TAINT_EFFECT}]
    assert with_taint(tainted) == tainted["spec"]["taints"], "never twice"
    assert without_taint(tainted) == foreign
    assert not read(node).tainted
    assert read(tainted).tainted
    assert with_taint({"spec": {}}) == [{"key": TAINT_KEY, "effect": TAINT_EFFECT}]


@pytest.mark.parametrize(
    ("node", "seen"),
    [
        ({}, Seen(gpus=None, ready=False, cordoned=False, tainted=False)),
        (
            {
                "spec": {"unschedulable": True},
                "status": {
                    "capacity": {GPU: "4"},
                    "allocatable": {GPU: "3", "cpu": "32"},
                    "conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
                },
            },
            Seen(gpus=3, ready=True, cordoned=True, tainted=False),
        ),
        (
            {
                "status": {
                    "allocatable": {GPU: "0"},
                    "conditions": [{"type": "Ready", "status": "Unknown"}],
                }
            },
            Seen(gpus=0, ready=False, cordoned=False, tainted=False),
        ),
    ],
)
def test_what_is_read_of_a_node(node: dict[str, Any], seen: Seen) -> None:
    assert read(node) == seen


def test_the_settings_know_the_taint() -> None:
    assert TAINT_KEY == SICK_GPU_TAINT


class Cluster(Api):
    """Two nodes as the API would tell of them; no answer while it is `away`."""

    def __init__(self) -> None:
        super().__init__("https://nowhere", Path())
        self.gpus, self.away = {"a": 4, "b": 4}, False
        self.tainted: list[str] = []

    def node(self, name: str) -> dict[str, Any] | None:
        if self.away:
            raise ApiError("no answer")
        status = {"allocatable": {GPU: str(self.gpus[name])}, "conditions": [{"type": "Ready", "status": "True"}]}
        return {"metadata": {"name": name}, "status": status}

    def set_taints(self, node: Mapping[str, Any], taints: Sequence[Mapping[str, Any]]) -> bool:
        assert taints == with_taint(node)
        self.tainted.append(node["metadata"]["name"])
        return True


def test_what_nobody_saw_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    cluster, now = Cluster(), [0.0]
    controller = Controller(cluster, {"a": 4, "b": 4}, PATIENCE, lambda: now[0])
    cluster.gpus["a"] = 3
    for at, away, tainted in (
        (0, False, False),
        (30, True, False),
        (60, True, False),
        (61, False, False),
        (120.9, False, False),
        (121, False, True),
    ):
        now[0], cluster.away = at, away
        controller.turn()
        assert cluster.tainted == (["a"] if tainted else []), at
    said = capsys.readouterr().out
    assert said.count("no use of the API") == said.count("answers again") == 1
