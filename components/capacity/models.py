"""Shapes of the models: what decides weights, KV cache and arithmetic. Source: each checkpoint's config.json."""

from __future__ import annotations

import math
from dataclasses import dataclass

PATCH_PIXELS = 16 * 16  # vision_config.patch_size
PIXELS_PER_TOKEN = 32 * 32  # 2 x 2 patches are merged into one token (spatial_merge_size)
PATCHES_PER_TOKEN = PIXELS_PER_TOKEN // PATCH_PIXELS
_PATCH_VALUES = 3 * 2 * PATCH_PIXELS  # RGB, two frames (temporal_patch_size)
_POSITIONS = 2304  # vision_config.num_position_embeddings


@dataclass(frozen=True, kw_only=True, slots=True)
class Vision:
    """A vision transformer whose output, and that of `taps` inner blocks (DeepStack), goes to the language model."""

    blocks: int
    width: int
    inner_width: int
    taps: int = 3

    @property
    def block_parameters(self) -> int:
        return self.blocks * (4 * self.width**2 + 2 * self.width * self.inner_width)

    def merger_parameters(self, out_width: int) -> int:
        """One merger for the last block and one for each tap: four patches wide in, the language model's width out."""
        merged = PATCHES_PER_TOKEN * self.width
        return (1 + self.taps) * (merged**2 + merged * out_width)

    @property
    def embedding_parameters(self) -> int:
        return (_PATCH_VALUES + _POSITIONS) * self.width


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A dense Qwen3-VL."""

    layers: int
    width: int
    inner_width: int
    heads: int
    kv_heads: int
    head_width: int = 128
    vocabulary: int = 151_936
    tied_head: bool  # the output layer is the embedding
    vision: Vision

    @property
    def layer_parameters(self) -> int:
        """Of the language model's layers; norms are left out (below 0.1 %)."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.width * self.inner_width)

    @property
    def head_parameters(self) -> int:
        return self.vocabulary * self.width

    @property
    def vision_parameters(self) -> int:
        vision = self.vision
        return vision.block_parameters + vision.merger_parameters(self.width) + vision.embedding_parameters

    @property
    def parameters(self) -> int:
        embeddings = self.head_parameters * (1 if self.tied_head else 2)
        return self.layer_parameters + embeddings + self.vision_parameters

    @property
    def kv_values_per_token(self) -> int:
        return 2 * self.layers * self.kv_heads * self.head_width


def image_tokens(pixels: int) -> int:
    """Tokens of an image, whose sides the processor rounds to multiples of 32 pixels."""
    return math.ceil(pixels / PIXELS_PER_TOKEN)


_SMALL_TOWER = Vision(blocks=24, width=1024, inner_width=4096)
_LARGE_TOWER = Vision(blocks=27, width=1152, inner_width=4304)

ARCHITECTURES: dict[str, Architecture] = {
    "Qwen3-VL-2B": Architecture(
        layers=28, width=2048, inner_width=6144, heads=16, kv_heads=8, tied_head=True, vision=_SMALL_TOWER
    ),
    "Qwen3-VL-4B": Architecture(
        layers=36, width=2560, inner_width=9728, heads=32, kv_heads=8, tied_head=True, vision=_SMALL_TOWER
    ),
    "Qwen3-VL-8B": Architecture(
        layers=36, width=4096, inner_width=12_288, heads=32, kv_heads=8, tied_head=False, vision=_LARGE_TOWER
    ),
    "Qwen3-VL-32B": Architecture(
        layers=64, width=5120, inner_width=25_600, heads=64, kv_heads=8, tied_head=False, vision=_LARGE_TOWER
    ),
}


def architecture_name(model: str) -> str | None:
    """The entry of ARCHITECTURES that a model's name begins with: `Qwen/Qwen3-VL-4B-Instruct-FP8` is a `Qwen3-VL-4B`."""
    last = model.rsplit("/", 1)[-1].lower()
    found = [name for name in ARCHITECTURES if last == name.lower() or last.startswith(f"{name.lower()}-")]
    return found[0] if found else None
