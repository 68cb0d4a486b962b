"""One replica as the arithmetic sees it, and how its GPU's memory is divided."""

from __future__ import annotations

from dataclasses import dataclass

from components.capacity.gpus import GIB, Gpu
from components.capacity.models import PATCHES_PER_TOKEN, Architecture, image_tokens

# Bytes a weight of the language model's layers takes. Embedding, output layer and vision tower stay at 16 bits. 4 bits carry a
# 16-bit scale and a zero point for each group of 128.
BYTES_PER_WEIGHT = {"16-bit": 2.0, "8-bit": 1.0, "4-bit": 0.53}
ACTIVATION_BYTES = 2
# CUDA context, libraries' workspaces and CUDA graphs. With it the KV cache is 1 % smaller than the one vLLM made on an H100, for
# bf16 and FP8 (bench/results/gpu-h100.md).
RUNTIME_BYTES = int(1.5 * GIB)


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """Model, card and the limits the engine is started with."""

    architecture: Architecture
    gpu: Gpu
    weights: str = "16-bit"  # key of BYTES_PER_WEIGHT
    weights_on_disk: str = "16-bit"  # the engine may make 8 bits of 16 while it loads
    memory_share: float = 0.9
    max_model_len: int = 8192
    max_num_seqs: int = 64
    max_num_batched_tokens: int = 4096
    max_image_pixels: int = 1024 * 1024

    def weight_bytes(self, form: str) -> int:
        model = self.architecture
        return int(model.layer_parameters * BYTES_PER_WEIGHT[form]) + 2 * (model.parameters - model.layer_parameters)

    @property
    def weight_bytes_per_layer_parameter(self) -> float:
        return BYTES_PER_WEIGHT[self.weights]

    @property
    def kv_bytes_per_token(self) -> int:
        return ACTIVATION_BYTES * self.architecture.kv_values_per_token

    @property
    def memory(self) -> Memory:
        return Memory(
            share_bytes=int(self.gpu.memory_bytes * self.memory_share),
            weight_bytes=self.weight_bytes(self.weights),
            activation_bytes=max(self._language_bytes, self._vision_bytes),
            encoder_cache_bytes=self.encoder_tokens * self._image_token_bytes,
            runtime_bytes=RUNTIME_BYTES,
        )

    @property
    def encoder_tokens(self) -> int:
        """Image tokens vLLM may encode in one step, and those it keeps: its own profiling run takes as many."""
        return max(self.max_num_batched_tokens, image_tokens(self.max_image_pixels))

    @property
    def kv_tokens(self) -> int:
        return max(0, self.memory.kv_bytes) // self.kv_bytes_per_token

    def sequences(self, tokens: int) -> int:
        """Sequences of `tokens` each that run at the same time: as many as the KV cache holds and the engine allows."""
        return min(self.max_num_seqs, self.kv_tokens // tokens)

    @property
    def fits(self) -> bool:
        """vLLM refuses to start unless one sequence of the full length has room."""
        return self.sequences(self.max_model_len) >= 1

    @property
    def _image_token_bytes(self) -> int:
        """An encoded image token: the model's width, once for the last block and once for each tap."""
        return ACTIVATION_BYTES * self.architecture.width * (1 + self.architecture.vision.taps)

    @property
    def _language_bytes(self) -> int:
        """A layer's widest moment (gate, up and their product beside two hidden states), or the logits with their softmax."""
        model = self.architecture
        layer = self.max_num_batched_tokens * ACTIVATION_BYTES * (3 * model.inner_width + 2 * model.width)
        return layer + self.max_num_seqs * model.vocabulary * 4 * 2

    @property
    def _vision_bytes(self) -> int:
        """The vision tower's widest moment at as many patches as one step may encode: Q, K, V, two states, the MLP's inner."""
        vision = self.architecture.vision
        patch = ACTIVATION_BYTES * (5 * vision.width + 2 * vision.inner_width)
        return self.encoder_tokens * (PATCHES_PER_TOKEN * patch + self._image_token_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes of a GPU: what the engine may take, and what is taken before the KV cache gets the rest."""

    share_bytes: int
    weight_bytes: int
    activation_bytes: int
    encoder_cache_bytes: int
    runtime_bytes: int

    @property
    def taken_bytes(self) -> int:
        return self.weight_bytes + self.activation_bytes + self.encoder_cache_bytes + self.runtime_bytes

    @property
    def kv_bytes(self) -> int:
        """May be negative: then the model itself does not fit."""
        return self.share_bytes - self.taken_bytes
