"""A conversation as it is kept: turns of question and answer, bounded in number and bytes, written as JSON.

Images are not kept in full. A turn keeps, per image, its size, its digest and a thumbnail of at most a few KiB; only the
newest `Bounds.thumbnails` of them stay. So the largest value one user can put into Redis is `Bounds.bytes`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

SCHEMA = 1


class HistoryUnreadable(Exception):
    """The stored text is not a history of a schema this version knows."""


class TurnState(StrEnum):
    ANSWERING = "answering"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Bounds:
    """Limits of one history: turns and thumbnails counted, bytes of the JSON text."""

    turns: int = 40
    thumbnails: int = 8
    bytes: int = 128 * 1024


@dataclass(frozen=True)
class KeptImage:
    """What stays of an image: `thumbnail` is a data URI, empty once the bounds dropped it."""

    digest: str
    width: int
    height: int
    thumbnail: str


@dataclass(frozen=True)
class Turn:
    """One question and its answer. `asked_at` is seconds since the epoch and orders turns of several replicas."""

    id: str
    asked_at: float
    question: str
    images: tuple[KeptImage, ...] = ()
    answer: str = ""
    state: TurnState = TurnState.ANSWERING


@dataclass(frozen=True)
class History:
    turns: tuple[Turn, ...] = ()

    def with_turn(self, turn: Turn) -> History:
        """The history with this turn in place of the one of the same id, or at its end."""
        if any(kept.id == turn.id for kept in self.turns):
            return History(tuple(turn if kept.id == turn.id else kept for kept in self.turns))
        return History((*self.turns, turn))

    def merged(self, newer: History) -> History:
        """Turns of both in the order they were asked; of two with one id, that of `newer`."""
        by_id = {turn.id: turn for turn in (*self.turns, *newer.turns)}
        return History(tuple(sorted(by_id.values(), key=lambda turn: turn.asked_at)))

    def since(self, moment: float) -> History:
        """Only the turns asked after `moment` (seconds since the epoch)."""
        return History(tuple(turn for turn in self.turns if turn.asked_at > moment))

    def bounded(self, bounds: Bounds) -> History:
        """The newest part that fits: first old thumbnails go, then old turns, last the newest turn's own text."""
        turns = list(self.turns[-bounds.turns :])
        left = bounds.thumbnails
        for at in reversed(range(len(turns))):
            kept: list[KeptImage] = []
            for image in reversed(turns[at].images):
                kept.append(image if left > 0 else replace(image, thumbnail=""))
                left -= bool(image.thumbnail)
            turns[at] = replace(turns[at], images=tuple(reversed(kept)))
        for at in range(len(turns)):
            if _size(turns) <= bounds.bytes:
                break
            if any(image.thumbnail for image in turns[at].images):
                turns[at] = replace(turns[at], images=tuple(replace(i, thumbnail="") for i in turns[at].images))
        while len(turns) > 1 and _size(turns) > bounds.bytes:
            del turns[0]
        if turns and _size(turns) > bounds.bytes:
            turns = [_shortened(turns[0], bounds.bytes)]
        return History(tuple(turns))

    def to_json(self) -> str:
        return json.dumps({"v": SCHEMA, "turns": [asdict(turn) for turn in self.turns]}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str | bytes) -> History:
        """Reads what `to_json` wrote. Raises HistoryUnreadable for anything else."""
        try:
            stored: dict[str, Any] = json.loads(text)
            if stored["v"] != SCHEMA:
                raise HistoryUnreadable(f"schema {stored['v']!r}; this version reads {SCHEMA}")
            return History(tuple(_turn(fields) for fields in stored["turns"]))
        except (ValueError, KeyError, TypeError) as error:
            raise HistoryUnreadable(f"not a history: {type(error).__name__}") from error


def _turn(fields: dict[str, Any]) -> Turn:
    images: Iterable[dict[str, Any]] = fields["images"]
    return Turn(
        id=str(fields["id"]),
        asked_at=float(fields["asked_at"]),
        question=str(fields["question"]),
        images=tuple(
            KeptImage(str(i["digest"]), int(i["width"]), int(i["height"]), str(i["thumbnail"])) for i in images
        ),
        answer=str(fields["answer"]),
        state=TurnState(fields["state"]),
    )


def _size(turns: list[Turn]) -> int:
    return len(History(tuple(turns)).to_json().encode())


def _shortened(turn: Turn, limit: int) -> Turn:
    """The turn cut to `limit` bytes: half for the question, the rest for the answer, both at their beginning.

    A character can take six bytes in JSON (a control character), so the text is cut by that worst case only where the
    plain cut does not fit.
    """
    for bytes_per_character in (1, 4, 6):
        room = max(0, limit - 1024) // bytes_per_character
        question = turn.question[: room // 2]
        shorter = replace(turn, question=question, answer=turn.answer[: room - len(question)])
        if _size([shorter]) <= limit:
            return shorter
    return replace(turn, question="", answer="", images=())
