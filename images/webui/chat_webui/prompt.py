"""From a conversation to the messages of one chat completion, within the engine's context length."""

from __future__ import annotations

from typing import Any

from chat_webui.conversation import Conversation, KeptImage, Turn, TurnState
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


def messages_for(
    conversation: Conversation, shelf: ImageShelf, context_tokens: int, max_images: int, system_prompt: str = ""
) -> list[Message]:
    """The system prompt and the newest turns that fit into `context_tokens`, the last one (the question) always, with the
    newest `max_images` images of the whole conversation: an engine refuses a prompt that has more.

    Turns without an answer (stopped before the first word, failed) are left out: two questions in a row would break the
    order of roles the chat template wants.
    """
    *earlier, asked = conversation.turns
    left = context_tokens - estimated_tokens(asked) - len(system_prompt.encode()) // BYTES_PER_TOKEN
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
    system: list[Message] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, *newest_first[::-1]]


def _question(turn: Turn, shelf: ImageShelf, max_images: int) -> tuple[Message, int]:
    """The message, and how many images are in it. An image that is not shown any more is mentioned."""
    found = [(image, shelf.data_uri(image)) for image in turn.images]
    shown = [(image, uri) for image, uri in found if uri][: max(0, max_images)]
    hidden = len(turn.images) - len(shown)
    text = " ".join(
        part for part in (f"[{hidden} image(s) not shown any more]" if hidden else "", turn.question) if part
    )
    if not shown:
        return {"role": "user", "content": text}, 0
    parts = [part for image, uri in shown for part in _image(image, uri)]
    return {"role": "user", "content": [*parts, *([{"type": "text", "text": text}] if text else [])]}, len(shown)


def _image(image: KeptImage, uri: str) -> list[dict[str, Any]]:
    """The image, and before a frame its time as Qwen3-VL was trained to read it."""
    time = [] if image.second is None else [{"type": "text", "text": f"<{image.second:.1f} seconds>"}]
    return [*time, {"type": "image_url", "image_url": {"url": uri}}]
