"""A conversation in the form of Gradio's chat component."""

from __future__ import annotations

import base64
import re
import secrets
from pathlib import Path
from typing import Any

from chat_webui.conversation import KeptImage, Turn, TurnState
from chat_webui.conversations import View
from chat_webui.texts import say

WAITING = "…"
"""Stands where the first word of an answer will."""
STATE_NOTES = {
    TurnState.STOPPED: "stopped",
    TurnState.FAILED: "no_answer",
    TurnState.ANSWERING: "interrupted",
}
SIGNS = re.compile(r"[&<>`*_\[\]~$|\\]|(?<=^)[#+=-]|(?<=\n)[#+=-]|(?<=[0-9])[.)](?= )")
"""What means something in Markdown or HTML; not more, as the entities are also read to users of a screen reader."""


def as_plain_text(typed: str) -> str:
    """Markdown that shows exactly what was typed."""
    signs = SIGNS.sub(lambda sign: f"&#{ord(sign[0])};", typed)
    return re.sub(r"^ +", lambda blanks: "&#160;" * len(blanks[0]), signs, flags=re.MULTILINE)


def messages_of(view: View, thumbnails: Path, language: str) -> list[dict[str, Any]]:
    """Question and answer of each turn; thumbnails are written as files, which Gradio serves."""
    messages: list[dict[str, Any]] = []
    for turn in view.conversation.turns:
        live = view.answering and turn is view.conversation.turns[-1]
        note = "" if live else STATE_NOTES.get(turn.state, "")
        waiting = f"*{say(language, 'in_line')}*" if view.in_line else WAITING
        text = turn.answer or (waiting if live else "")
        answer = "\n\n".join(part for part in (text, f"*{say(language, note)}*" if note else "") if part)
        question = _question(turn, thumbnails, language)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return messages


def _question(turn: Turn, thumbnails: Path, language: str) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for image in turn.images:
        said = say(language, "image_size", {"width": image.width, "height": image.height})
        if image.second is not None:
            said = f"{say(language, 'frame', {'second': f'{image.second:.1f}'})}, {said}"
        if image.thumbnail:
            file = {"path": _file_of(image, thumbnails), "mime_type": "image/jpeg"}
            parts.append({"type": "file", "file": file, "alt_text": said})
        else:
            parts.append({"type": "text", "text": f"*{say(language, 'image_gone', {'image': said})}*"})
    if turn.question:
        parts.append({"type": "text", "text": as_plain_text(turn.question)})
    return parts


def _file_of(image: KeptImage, thumbnails: Path) -> str:
    """The thumbnail as a file named by the image's digest, so that only who has the image can guess the name."""
    path = thumbnails / f"{image.digest}.jpg"
    if not path.exists():
        thumbnails.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{secrets.token_hex(4)}")
        partial.write_bytes(base64.b64decode(image.thumbnail.partition(",")[2]))
        partial.rename(path)
    return str(path)
