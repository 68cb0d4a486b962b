"""Histories: what is kept, what goes first, and what Redis holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from chat_webui.chat_settings import SYSTEM_PROMPT_LENGTH, ChatSettings
from chat_webui.conversation import TITLE_LENGTH, Conversation, KeptImage, Turn, TurnState
from chat_webui.history import DELETED_KEPT, Bounds, History, HistoryUnreadable


def turn(number: int, question: str = "", answer: str = "", images: int = 0, thumbnail: str = "t" * 100) -> Turn:
    kept = tuple(KeptImage(f"{number}-{n}", 10, 20, thumbnail) for n in range(images))
    return Turn(f"id{number}", float(number), question or f"q{number}", kept, answer or f"a{number}", TurnState.DONE)


def history(*turns: Turn) -> History:
    """One conversation."""
    return History((Conversation("c", "", turns),))


def chats(*numbers: int) -> History:
    """A conversation of one turn for each number."""
    return History(tuple(Conversation(f"c{n}", "", (turn(n),)) for n in numbers))


def ids(kept: History) -> list[str]:
    return [turn.id for conversation in kept.conversations for turn in conversation.turns]


def test_json_round_trip_keeps_every_field() -> None:
    first = Conversation("c1", "a title", (turn(1, "多模态 “ok”\n\u0000", "🙂", images=2),))
    second = Conversation("c2", "", (replace(turn(2), state=TurnState.STOPPED),))
    frame = Conversation("c3", "", (replace(turn(3), images=(KeptImage("d", 1, 2, "t", 2.5),)),))
    kept = History((first, second, frame), ChatSettings("be brief", 0.3, 0.5, 64), ("gone",))
    assert History.from_json(kept.to_json()) == kept


STORED: dict[str, Any] = json.loads(history(turn(1)).to_json())
WRONG_STATE = json.loads(history(turn(1)).to_json())
WRONG_STATE["conversations"][0]["turns"][0]["state"] = "new"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        json.dumps({**STORED, "v": 3}),
        json.dumps({"v": 2, "conversations": []}),
        json.dumps({**STORED, "conversations": [{}]}),
        json.dumps({**STORED, "settings": 1}),
        json.dumps(WRONG_STATE),
    ],
)
def test_anything_else_is_unreadable(text: str) -> None:
    with pytest.raises(HistoryUnreadable):
        History.from_json(text)


def test_a_turn_with_a_known_id_is_replaced_in_place() -> None:
    changed = replace(turn(1), answer="new")
    conversation = Conversation("c", "", (turn(1), turn(2)))
    assert conversation.with_turn(changed).turns == (changed, turn(2))
    assert history(turn(1)).with_turn(Conversation("c"), turn(2)) == history(turn(1), turn(2))


def test_the_conversation_used_last_is_the_newest() -> None:
    kept = chats(1, 2, 3).with_turn(Conversation("c1"), turn(9))
    assert [one.id for one in kept.conversations] == ["c2", "c3", "c1"]
    assert kept.newest is not None
    assert kept.newest.id == "c1"


def test_merging_orders_by_time_prefers_the_newer_side_and_keeps_what_is_deleted_deleted() -> None:
    newer = replace(turn(2), answer="newer")
    assert ids(history(turn(1), turn(2)).merged(history(newer, turn(0)))) == ["id0", "id1", "id2"]
    assert history(turn(2)).merged(history(newer)).conversations[0].turns == (newer,)
    assert ids(chats(1, 2).without("c1").merged(chats(1, 3))) == ["id2", "id3"]
    assert ids(chats(1, 2).merged(chats(2, 3).without("c2"))) == ["id1", "id3"]


def test_what_is_deleted_stays_deleted_and_the_list_of_it_is_bounded() -> None:
    kept = chats(1, 2).without("c1").with_turn(Conversation("c1"), turn(1))
    assert ids(kept) == ["id2"]
    for number in range(100):
        kept = kept.without(f"other{number}")
    assert len(kept.deleted) == DELETED_KEPT


@pytest.mark.parametrize(
    ("typed", "name"),
    [("  My \n chat ", "My chat"), ("x" * 500, "x" * TITLE_LENGTH), ("   ", "q1")],
)
def test_a_name_is_one_line_and_bounded(typed: str, name: str) -> None:
    assert history(turn(1)).renamed("c", typed).conversations[0].name == name


def test_an_unnamed_conversation_is_called_by_its_first_words() -> None:
    assert Conversation("c", "", (replace(turn(1), question="a\n b"), turn(2))).name == "a b"
    long = Conversation("c", "", (turn(1, "word " * 100),)).name
    assert len(long) == TITLE_LENGTH
    assert long.endswith("…")
    assert Conversation("c", "", (replace(turn(1), question=""),)).name == ""


def test_within_the_bounds_nothing_changes() -> None:
    kept = history(*(turn(n, images=1) for n in range(3)))
    assert kept.bounded(Bounds(turns=3, thumbnails=3, bytes=10_000)) == kept


def test_the_oldest_turns_and_conversations_go_first() -> None:
    kept = history(*(turn(n) for n in range(9))).bounded(Bounds(turns=4))
    assert ids(kept) == ["id5", "id6", "id7", "id8"]
    assert ids(chats(*range(9)).bounded(Bounds(conversations=2))) == ["id7", "id8"]


def test_only_the_newest_thumbnails_stay_but_every_size_and_digest() -> None:
    kept = history(turn(1, images=2), turn(2, images=2)).bounded(Bounds(thumbnails=3))
    turns = kept.conversations[0].turns
    assert [[bool(i.thumbnail) for i in t.images] for t in turns] == [[False, True], [True, True]]
    assert [i.digest for i in turns[0].images] == ["1-0", "1-1"]


def test_thumbnails_are_counted_over_all_conversations_by_time() -> None:
    old_and_new = Conversation("a", "", (turn(1, images=1), turn(9, images=1)))
    between = Conversation("b", "", (turn(5, images=1),))
    kept = History((between, old_and_new)).bounded(Bounds(thumbnails=2))
    with_thumbnails = [t.id for one in kept.conversations for t in one.turns if t.images[0].thumbnail]
    assert sorted(with_thumbnails) == ["id5", "id9"]


def test_too_many_bytes_cost_thumbnails_before_turns() -> None:
    kept = history(turn(1, images=1, thumbnail="t" * 3000), turn(2)).bounded(Bounds(bytes=1500))
    assert ids(kept) == ["id1", "id2"]
    assert kept.conversations[0].turns[0].images[0].thumbnail == ""


def test_too_many_bytes_then_cost_the_conversations_used_longest_ago() -> None:
    many = History(tuple(Conversation(f"c{n}", "", (turn(n, answer="x" * 400),)) for n in range(10)))
    kept = many.bounded(Bounds(bytes=2500))
    assert 1 < len(kept.conversations) < 10
    assert ids(kept)[-1] == "id9"
    assert len(kept.to_json().encode()) <= 2500


def test_too_many_bytes_at_last_cost_old_turns() -> None:
    kept = history(*(turn(n, answer="x" * 400) for n in range(10))).bounded(Bounds(bytes=2000))
    assert 1 <= len(ids(kept)) < 10
    assert ids(kept)[-1] == "id9"
    assert len(kept.to_json().encode()) <= 2000


@pytest.mark.parametrize("letter", ["x", "图", "\u0001", '"'])
def test_one_huge_turn_is_cut_and_still_fits(letter: str) -> None:
    bounds = Bounds(bytes=8192)
    kept = history(turn(1), turn(2, letter * 50_000, letter * 50_000, images=4, thumbnail="t" * 9000)).bounded(bounds)
    assert ids(kept) == ["id2"]
    assert len(kept.to_json().encode()) <= bounds.bytes
    assert kept.conversations[0].turns[0].question.startswith(letter)
    assert kept.conversations[0].turns[0].answer.startswith(letter)


def test_the_largest_legal_history_fits_the_default_bounds() -> None:
    """20 conversations of 40 turns, thumbnails of 8 KiB in base64, 4 images each: the value in Redis stays within 128 KiB."""
    full = History(
        tuple(
            Conversation(
                f"c{c}",
                "t" * TITLE_LENGTH,
                tuple(turn(c * 100 + n, "q" * 4000, "a" * 4000, images=4, thumbnail="t" * 11_000) for n in range(40)),
            )
            for c in range(20)
        ),
        ChatSettings("\u0001" * SYSTEM_PROMPT_LENGTH),
        tuple(f"{n:016x}" for n in range(DELETED_KEPT)),
    )
    kept = full.bounded(Bounds())
    assert len(kept.to_json().encode()) <= Bounds().bytes
    assert kept.conversations[-1].turns[-1].question == "q" * 4000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ChatSettings()),
        ({"temperature": 9, "top_p": 0, "max_tokens": 5}, ChatSettings(temperature=2.0, top_p=0.05, max_tokens=16)),
        ({"temperature": -1, "top_p": 2, "max_tokens": 99_999}, ChatSettings(temperature=0.0, top_p=1.0)),
        ({"temperature": "hot", "top_p": None, "max_tokens": True}, ChatSettings()),
        ({"temperature": float("nan"), "top_p": float("inf")}, ChatSettings()),
        ({"system_prompt": "  x" + "y" * 9000}, ChatSettings(system_prompt="x" + "y" * (SYSTEM_PROMPT_LENGTH - 1))),
        ({"system_prompt": None, "max_tokens": 512}, ChatSettings(max_tokens=512)),
    ],
)
def test_settings_are_brought_into_their_bounds(given: dict[str, Any], expected: ChatSettings) -> None:
    assert ChatSettings.within_bounds(given, 1024) == expected
