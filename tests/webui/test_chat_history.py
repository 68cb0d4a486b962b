"""Histories: what is kept, what goes first, and what Redis holds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from chat_webui.conversation import Conversation, KeptImage, Turn, TurnState
from chat_webui.history import Bounds, History, HistoryUnreadable


def turn(number: int, question: str = "", answer: str = "", images: int = 0, thumbnail: str = "t" * 100) -> Turn:
    kept = tuple(KeptImage(f"{number}-{n}", 10, 20, thumbnail) for n in range(images))
    return Turn(f"id{number}", float(number), question or f"q{number}", kept, answer or f"a{number}", TurnState.DONE)


def history(*turns: Turn) -> History:
    return History(turns)


def test_json_round_trip_keeps_every_field() -> None:
    kept = history(turn(1, "多模态 “ok”\n\u0000", "🙂", images=2), replace(turn(2), state=TurnState.STOPPED))
    assert History.from_json(kept.to_json()) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"v": 2, "turns": []}',
        '{"turns": []}',
        '{"v": 1, "turns": [{}]}',
        json.dumps({"v": 1, "turns": [{**json.loads(history(turn(1)).to_json())["turns"][0], "state": "new"}]}),
    ],
)
def test_anything_else_is_unreadable(text: str) -> None:
    with pytest.raises(HistoryUnreadable):
        History.from_json(text)


def test_a_turn_with_a_known_id_is_replaced_in_place() -> None:
    changed = replace(turn(1), answer="new")
    assert history(turn(1), turn(2)).with_turn(changed).turns == (changed, turn(2))
    assert history(turn(1)).with_turn(turn(2)).turns == (turn(1), turn(2))


def test_merging_orders_by_time_and_prefers_the_newer_side() -> None:
    newer = replace(turn(2), answer="newer")
    merged = history(turn(1), turn(2)).merged(history(newer, turn(0)))
    assert merged.turns == (turn(0), turn(1), newer)


def test_since_drops_what_was_asked_before() -> None:
    assert history(turn(1), turn(2), turn(3)).since(2.0).turns == (turn(3),)


def test_within_the_bounds_nothing_changes() -> None:
    kept = history(*(turn(n, images=1) for n in range(3)))
    assert kept.bounded(Bounds(turns=3, thumbnails=3, bytes=10_000)) == kept


def test_the_oldest_turns_go_first() -> None:
    kept = history(*(turn(n) for n in range(9))).bounded(Bounds(turns=4))
    assert [t.id for t in kept.turns] == ["id5", "id6", "id7", "id8"]


def test_only_the_newest_thumbnails_stay_but_every_size_and_digest() -> None:
    kept = history(turn(1, images=2), turn(2, images=2)).bounded(Bounds(thumbnails=3))
    assert [[bool(i.thumbnail) for i in t.images] for t in kept.turns] == [[False, True], [True, True]]
    assert [i.digest for i in kept.turns[0].images] == ["1-0", "1-1"]


def test_too_many_bytes_cost_thumbnails_before_turns() -> None:
    kept = history(turn(1, images=1, thumbnail="t" * 3000), turn(2)).bounded(Bounds(bytes=1000))
    assert [t.id for t in kept.turns] == ["id1", "id2"]
    assert kept.turns[0].images[0].thumbnail == ""


def test_too_many_bytes_then_cost_old_turns() -> None:
    kept = history(*(turn(n, answer="x" * 400) for n in range(10))).bounded(Bounds(bytes=2000))
    assert 1 <= len(kept.turns) < 10
    assert kept.turns[-1].id == "id9"
    assert len(kept.to_json().encode()) <= 2000


@pytest.mark.parametrize("letter", ["x", "图", "\u0001", '"'])
def test_one_huge_turn_is_cut_and_still_fits(letter: str) -> None:
    bounds = Bounds(bytes=8192)
    kept = history(turn(1), turn(2, letter * 50_000, letter * 50_000, images=4, thumbnail="t" * 9000)).bounded(bounds)
    assert [t.id for t in kept.turns] == ["id2"]
    assert len(kept.to_json().encode()) <= bounds.bytes
    assert kept.turns[0].question.startswith(letter)
    assert kept.turns[0].answer.startswith(letter)


def test_the_largest_legal_history_fits_the_default_bounds() -> None:
    """40 turns, 8 KiB thumbnails in base64, 4 images each: the value in Redis stays within its 128 KiB."""
    full = history(*(turn(n, "q" * 4000, "a" * 4000, images=4, thumbnail="t" * 11_000) for n in range(40)))
    kept = full.bounded(Bounds())
    assert len(kept.to_json().encode()) <= Bounds().bytes
    assert kept.turns[-1].question == "q" * 4000
