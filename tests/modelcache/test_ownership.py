"""Whose turn it is to read a file from the source."""

from __future__ import annotations

from itertools import combinations

import pytest
from model_cache.ownership import Tells, may_read, must_withdraw, order

NODES = [f"gpu-{number}" for number in range(1, 6)]
FILES = [f"model-{number:05}.safetensors" for number in range(1, 201)]
NOTHING = Tells()


def readers(path: str, tells: dict[str, Tells]) -> list[str]:
    return [
        node
        for node, mine in tells.items()
        if may_read(path, node, mine, {other: said for other, said in tells.items() if other != node})
    ]


def test_exactly_one_reads_while_all_is_well_and_all_take_their_turn() -> None:
    turns = [readers(path, dict.fromkeys(NODES, NOTHING)) for path in FILES]
    assert all(len(turn) == 1 for turn in turns)
    counts = [sum(turn == [node] for turn in turns) for node in NODES]
    assert min(counts) > len(FILES) / len(NODES) / 2, counts


def test_the_second_takes_over_when_the_first_fails_and_nobody_else_does() -> None:
    for path in FILES[:20]:
        first, second, *_ = order(path, NODES)
        failing = dict.fromkeys(NODES, NOTHING) | {first: Tells(failing=frozenset({path}))}
        assert set(readers(path, failing)) == {first, second}
        both = failing | {second: Tells(failing=frozenset({path}))}
        assert set(readers(path, both)) == {first, second}


def test_who_does_not_answer_loses_its_claim() -> None:
    for path in FILES[:20]:
        _, second, *rest = order(path, NODES)
        assert readers(path, dict.fromkeys([second, *rest], NOTHING)) == [second]


def test_who_cannot_reach_the_source_comes_last_unless_nobody_can() -> None:
    for path in FILES[:20]:
        first, second, third, *_ = order(path, NODES)
        two = dict.fromkeys(NODES, NOTHING) | dict.fromkeys((first, second), Tells(unable=True))
        assert readers(path, two) == [third]
        assert readers(path, dict.fromkeys(NODES, Tells(unable=True))) == [first]


def test_nobody_begins_while_another_is_at_it() -> None:
    for path in FILES[:20]:
        last = order(path, NODES)[-1]
        busy = dict.fromkeys(NODES, NOTHING) | {last: Tells(reading={path: 0})}
        assert set(readers(path, busy)) <= {last}


@pytest.mark.parametrize("path", FILES[:10])
def test_of_any_that_begin_together_one_goes_on(path: str) -> None:
    for together in combinations(NODES, 3):
        claims = {node: Tells(reading={path: 0}) for node in together}
        going_on = [
            node
            for node in together
            if not must_withdraw(path, node, {other: said for other, said in claims.items() if other != node})
        ]
        assert going_on == [order(path, together)[0]]


def test_who_has_bytes_already_goes_on_whatever_its_claim() -> None:
    first, second, *_ = order(FILES[0], NODES)
    assert must_withdraw(FILES[0], first, {second: Tells(reading={FILES[0]: 1})})
