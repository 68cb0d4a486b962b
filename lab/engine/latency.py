"""How long a Qwen3-VL-4B on one 4090D would take: the stand-in's only numbers, in one place.

All are derived, none is measured on that card. Sources: the capacity arithmetic of the project's performance research
(4090D: 1008 GB/s, about 147 TFLOPS bf16 at 50 %; 8.05 GB read per decode step; 3.63 G layer parameters; KV cache of
144 KiB per token; an image token per 32 x 32 pixels; prefill of 512 x 512 41 ms, 1024 x 1024 163 ms).
"""

from __future__ import annotations

from dataclasses import dataclass

PREFILL_PER_IMAGE_TOKEN = 0.16e-3
"""Seconds: 41 ms / 256 tokens and 163 ms / 1024 tokens, language layers and vision tower together."""
PREFILL_PER_TEXT_TOKEN = 0.05e-3
"""Seconds: 2 x 3.63 GFLOP at 147 TFLOPS."""
DECODE_STEP = 8.0e-3
"""Seconds per output token of a request alone: one pass over the bf16 weights at full bandwidth."""
DECODE_PER_FURTHER_REQUEST = 1.1e-3
"""Seconds each further running request adds to everyone's step."""
KV_BYTES_PER_TOKEN = 144 * 1024
CARD_BYTES = 24 * 1024**3
WEIGHT_BYTES = 8.9 * 1024**3
PIXELS_PER_IMAGE_TOKEN = 32 * 32


@dataclass(frozen=True)
class Card:
    """One card; `scale` stretches every delay (0: none at all, for tests)."""

    gpu_memory_utilization: float = 0.9
    scale: float = 1.0

    @property
    def kv_tokens(self) -> int:
        """Tokens the KV cache holds."""
        return int((CARD_BYTES * self.gpu_memory_utilization - WEIGHT_BYTES) / KV_BYTES_PER_TOKEN)

    def prefill(self, text_tokens: int, image_tokens: int) -> float:
        return self.scale * (text_tokens * PREFILL_PER_TEXT_TOKEN + image_tokens * PREFILL_PER_IMAGE_TOKEN)

    def step(self, running: int) -> float:
        """Seconds until the next token while `running` requests decode together."""
        return self.scale * (DECODE_STEP + DECODE_PER_FURTHER_REQUEST * max(0, running - 1))
