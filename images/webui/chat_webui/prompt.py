"""From a history to the messages of one chat completion, within the engine's context length."""

from __future__ import annotations

from typing import Any

from chat_webui.history import History, Turn, TurnState
from chat_webui.images import ImageShelf

BYTES_PER_TOKEN = 3
"""Rough and on the safe side: English text has about 4 bytes a token, Chinese about 3 to 5 (UTF-8)."""
PIXELS_PER_TOKEN = 32 * 32
"""Qwen3-VL: patches of 16 x 16 pixels, merged 2 x 2."""

Message = dict[str, Any]


def estimated_tokens(turn: Turn) -> int:
    """Tokens one turn takes in the context, rather too many than too few."""
    text = len(turn.question.encode()) + len(turn.answer.encode())
    images = sum(image.width * image.height // PIXELS_PER_TOKEN + 2 for image in turn.images)
    return text // BYTES_PER_TOKEN + images + 16


def messages_for(history: History, shelf: ImageShelf, context_tokens: int, max_images: int) -> list[Message]:
    """The newest turns that fit into `context_tokens`, the last one (the question) always, with the newest `max_images`
    images of the whole conversation: an engine refuses a prompt that has more.

    Turns without an answer (stopped before the first word, failed) are left out: two questions in a row would break the
    order of roles the chat template wants.
    """
    *earlier, asked = history.turns
    left = context_tokens - estimated_tokens(asked)
    chosen: list[Turn] = []
    for turn in reversed(earlier):
        if not turn.answer or turn.state is TurnState.ANSWERING:
            continue
        left -= estimated_tokens(turn)
        if left < 0:
            break
        chosen.append(turn)
    question, images = _question(asked, shelf, max_images)
    newest_first = [question]
    for turn in chosen:
        question, shown = _question(turn, shelf, max_images - images)
        images += shown
        newest_first += [{"role": "assistant", "content": turn.answer}, question]
    return newest_first[::-1]


def _question(turn: Turn, shelf: ImageShelf, max_images: int) -> tuple[Message, int]:
    """The message, and how many images are in it. An image that is not shown any more is mentioned."""
    found = [shelf.data_uri(image) for image in turn.images]
    uris = [uri for uri in found if uri][: max(0, max_images)]
    hidden = len(turn.images) - len(uris)
    text = " ".join(
        part for part in (f"[{hidden} image(s) not shown any more]" if hidden else "", turn.question) if part
    )
    if not uris:
        return {"role": "user", "content": text}, 0
    images = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
    return {"role": "user", "content": [*images, *([{"type": "text", "text": text}] if text else [])]}, len(uris)
