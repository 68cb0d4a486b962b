"""How a user wants to be answered: system prompt and sampling, within bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

SYSTEM_PROMPT_LENGTH = 4000
"""Characters."""
TEMPERATURE = (0.0, 2.0)
TOP_P = (0.05, 1.0)
"""vLLM refuses 0."""
MAX_TOKENS_FROM = 16


@dataclass(frozen=True)
class ChatSettings:
    """The defaults of temperature and top_p are those of Qwen3-VL-Instruct's generation_config.json. `max_tokens` 0 means
    the most this service gives (`--max-new-tokens`)."""

    system_prompt: str = ""
    temperature: float = 0.7
    top_p: float = 0.8
    max_tokens: int = 0

    @staticmethod
    def within_bounds(given: dict[str, Any], max_new_tokens: int) -> ChatSettings:
        """From what a browser or Redis says: each value into its bounds; one that is no number becomes the default."""
        tokens = int(_number(given.get("max_tokens"), 0, 0, max_new_tokens))
        return ChatSettings(
            system_prompt=str(given.get("system_prompt") or "").strip()[:SYSTEM_PROMPT_LENGTH],
            temperature=_number(given.get("temperature"), ChatSettings.temperature, *TEMPERATURE),
            top_p=_number(given.get("top_p"), ChatSettings.top_p, *TOP_P),
            max_tokens=0 if tokens in (0, max_new_tokens) else max(min(MAX_TOKENS_FROM, max_new_tokens), tokens),
        )


def _number(given: object, default: float, lowest: float, highest: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        return default
    return min(max(float(given), lowest), highest)
