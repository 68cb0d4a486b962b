"""One conversation: turns of question and answer, and what is kept of their images."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from enum import StrEnum

TITLE_LENGTH = 60
"""Characters of a conversation's name."""
ID = re.compile(r"[0-9a-f]{16}")


def new_id() -> str:
    """For a conversation or a turn: 64 random bits."""
    return secrets.token_hex(8)


class TurnState(StrEnum):
    ANSWERING = "answering"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class KeptImage:
    """What stays of an image: `thumbnail` is a data URI, empty once the bounds dropped it. `second` is the place of a
    frame in its video."""

    digest: str
    width: int
    height: int
    thumbnail: str
    second: float | None = None


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
class Conversation:
    """`title` is what the user called it, empty until then."""

    id: str
    title: str = ""
    turns: tuple[Turn, ...] = ()

    @property
    def used_at(self) -> float:
        """Seconds since the epoch of the last question."""
        return self.turns[-1].asked_at if self.turns else 0.0

    @property
    def name(self) -> str:
        """The title, else the beginning of the first question, else nothing."""
        if self.title:
            return self.title
        asked = next((" ".join(turn.question.split()) for turn in self.turns if turn.question.strip()), "")
        return asked if len(asked) <= TITLE_LENGTH else asked[: TITLE_LENGTH - 1] + "…"

    def with_turn(self, turn: Turn) -> Conversation:
        """With this turn in place of the one of the same id, or at its end."""
        if any(kept.id == turn.id for kept in self.turns):
            return replace(self, turns=tuple(turn if kept.id == turn.id else kept for kept in self.turns))
        return replace(self, turns=(*self.turns, turn))

    def merged(self, newer: Conversation) -> Conversation:
        """Turns of both in the order they were asked; of two with one id, that of `newer`."""
        by_id = {turn.id: turn for turn in (*self.turns, *newer.turns)}
        turns = tuple(sorted(by_id.values(), key=lambda turn: turn.asked_at))
        return Conversation(self.id, newer.title or self.title, turns)
