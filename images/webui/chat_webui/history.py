"""What is kept of a user: conversations and settings as one JSON text, bounded in number and bytes.

Images are not kept in full. A turn keeps, per image, its size, its digest and a thumbnail of at most a few KiB; only the
newest `Bounds.thumbnails` of them stay. So the largest value one user can put into Redis is `Bounds.bytes`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from chat_webui.chat_settings import ChatSettings
from chat_webui.conversation import TITLE_LENGTH, Conversation, KeptImage, Turn, TurnState

SCHEMA = 2
DELETED_KEPT = 32
"""Ids of deleted conversations that are remembered, so that an answer which another replica is still writing, or a copy
from an outage of Redis, does not bring one back."""
MOST_TOKENS = 1_000_000
"""Bound of `max_tokens` as stored; the service's own is applied when it is used."""


class HistoryUnreadable(Exception):
    """The stored text is not a history of a schema this version knows."""


@dataclass(frozen=True)
class Bounds:
    """Limits of one user: conversations, turns of each, thumbnails of all, bytes of the JSON text."""

    conversations: int = 20
    turns: int = 40
    thumbnails: int = 8
    bytes: int = 128 * 1024


@dataclass(frozen=True)
class History:
    """`conversations` are ordered by their last use, the newest last."""

    conversations: tuple[Conversation, ...] = ()
    settings: ChatSettings = field(default_factory=ChatSettings)
    deleted: tuple[str, ...] = ()

    def conversation(self, conversation_id: str) -> Conversation | None:
        return next((kept for kept in self.conversations if kept.id == conversation_id), None)

    @property
    def newest(self) -> Conversation | None:
        """The one used last."""
        return self.conversations[-1] if self.conversations else None

    def with_conversation(self, conversation: Conversation) -> History:
        """With this one in place of the one of the same id, or added; unchanged if it was deleted."""
        if conversation.id in self.deleted:
            return self
        others = [kept for kept in self.conversations if kept.id != conversation.id]
        return replace(self, conversations=_ordered([*others, conversation]))

    def with_turn(self, conversation: Conversation, turn: Turn) -> History:
        """With the turn in the conversation as it is stored, or, if it is not, as it is given."""
        return self.with_conversation((self.conversation(conversation.id) or conversation).with_turn(turn))

    def renamed(self, conversation_id: str, title: str) -> History:
        found = self.conversation(conversation_id)
        title = " ".join(title.split())[:TITLE_LENGTH]
        return self.with_conversation(replace(found, title=title)) if found else self

    def without(self, conversation_id: str) -> History:
        """Without this conversation, for good."""
        kept = tuple(one for one in self.conversations if one.id != conversation_id)
        deleted = (*(known for known in self.deleted if known != conversation_id), conversation_id)
        return replace(self, conversations=kept, deleted=deleted[-DELETED_KEPT:])

    def merged(self, newer: History) -> History:
        """Conversations and turns of both; what either deleted is gone; settings are those of `newer`."""
        deleted = tuple(dict.fromkeys((*self.deleted, *newer.deleted)))[-DELETED_KEPT:]
        by_id = {kept.id: kept for kept in self.conversations}
        for conversation in newer.conversations:
            known = by_id.get(conversation.id)
            by_id[conversation.id] = known.merged(conversation) if known else conversation
        left = [conversation for conversation in by_id.values() if conversation.id not in deleted]
        return History(_ordered(left), newer.settings, deleted)

    def bounded(self, bounds: Bounds) -> History:
        """The newest part that fits. First old thumbnails go, then the conversations used longest ago, then old turns of
        the last one, and at the very end its newest turn's own text."""
        kept = [replace(one, turns=one.turns[-bounds.turns :]) for one in self.conversations[-bounds.conversations :]]
        history = replace(self, conversations=tuple(kept))
        history = history._with_thumbnails(bounds.thumbnails)
        for thumbnails in range(history._thumbnails() - 1, -1, -1):
            if history._size() <= bounds.bytes:
                return history
            history = history._with_thumbnails(thumbnails)
        while len(history.conversations) > 1 and history._size() > bounds.bytes:
            history = replace(history, conversations=history.conversations[1:])
        while history.newest is not None and len(history.newest.turns) > 1 and history._size() > bounds.bytes:
            history = history._of_newest(history.newest.turns[1:])
        if history.newest is not None and history.newest.turns and history._size() > bounds.bytes:
            history = history._of_newest((_shortened(history, history.newest.turns[0], bounds.bytes),))
        return history

    def _of_newest(self, turns: tuple[Turn, ...]) -> History:
        """Only the conversation used last, with these turns."""
        return replace(self, conversations=(replace(self.conversations[-1], turns=turns),))

    def _thumbnails(self) -> int:
        return sum(bool(i.thumbnail) for one in self.conversations for turn in one.turns for i in turn.images)

    def _with_thumbnails(self, most: int) -> History:
        """Only the newest `most` thumbnails, over all conversations by the time they were asked about."""
        turns = [(turn.asked_at, at, turn) for one in self.conversations for at, turn in enumerate(one.turns)]
        with_images = [turn for _, _, turn in sorted(turns, key=lambda known: known[:2]) if turn.images]
        changed: dict[int, Turn] = {}
        for turn in reversed(with_images):
            images: list[KeptImage] = []
            for image in reversed(turn.images):
                images.append(image if most > 0 else replace(image, thumbnail=""))
                most -= bool(image.thumbnail)
            changed[id(turn)] = replace(turn, images=tuple(reversed(images)))
        return replace(
            self,
            conversations=tuple(
                replace(one, turns=tuple(changed.get(id(turn), turn) for turn in one.turns))
                for one in self.conversations
            ),
        )

    def _size(self) -> int:
        return len(self.to_json().encode())

    def to_json(self) -> str:
        return json.dumps({"v": SCHEMA, **asdict(self)}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str | bytes) -> History:
        """Reads what `to_json` wrote. Raises HistoryUnreadable for anything else."""
        try:
            stored: dict[str, Any] = json.loads(text)
            if stored["v"] != SCHEMA:
                raise HistoryUnreadable(f"schema {stored['v']!r}; this version reads {SCHEMA}")
            return History(
                tuple(
                    Conversation(str(one["id"]), str(one["title"]), tuple(_turn(fields) for fields in one["turns"]))
                    for one in stored["conversations"]
                ),
                ChatSettings.within_bounds(dict(stored["settings"]), MOST_TOKENS),
                tuple(str(known) for known in stored["deleted"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HistoryUnreadable(f"not a history: {type(error).__name__}") from error


def _ordered(conversations: Iterable[Conversation]) -> tuple[Conversation, ...]:
    return tuple(sorted(conversations, key=lambda conversation: conversation.used_at))


def _turn(fields: dict[str, Any]) -> Turn:
    images: Iterable[dict[str, Any]] = fields["images"]
    return Turn(
        id=str(fields["id"]),
        asked_at=float(fields["asked_at"]),
        question=str(fields["question"]),
        images=tuple(
            KeptImage(
                str(i["digest"]),
                int(i["width"]),
                int(i["height"]),
                str(i["thumbnail"]),
                None if i["second"] is None else float(i["second"]),
            )
            for i in images
        ),
        answer=str(fields["answer"]),
        state=TurnState(fields["state"]),
    )


def _shortened(history: History, turn: Turn, limit: int) -> Turn:
    """The only turn cut so that the history fits: half for the question, the rest for the answer, both at their beginning.

    A character can take six bytes in JSON (a control character), so the text is cut by that worst case only where the
    plain cut does not fit.
    """
    room = limit - history._of_newest((replace(turn, question="", answer=""),))._size()
    for bytes_per_character in (1, 4, 6):
        characters = max(0, room) // bytes_per_character
        question = turn.question[: characters // 2]
        shorter = replace(turn, question=question, answer=turn.answer[: characters - len(question)])
        if history._of_newest((shorter,))._size() <= limit:
            return shorter
    return replace(turn, question="", answer="", images=())
