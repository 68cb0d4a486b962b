"""TensorRT-LLM: `trtllm-serve` with its PyTorch backend, which takes a checkpoint as it is.

It has no limits of its own on images and on answers of API clients, and no shutdown timeout: the web UI's limits and drain hold.
"""

from __future__ import annotations

import json
import math
from typing import Any

from components.inference.engines.engine import ENVIRONMENT, FILES, Engine
from components.inference.model import ENGINE_PORT, model_path
from components.settings import Inference

OPTIONS = "options.yaml"
ATTENTION = {"flashinfer": "FLASHINFER", "flash-attn": "TRTLLM", "auto": "TRTLLM"}


def engine(inference: Inference) -> Engine:
    return Engine(
        image="tensorrt-llm",
        command=("trtllm-serve",),
        arguments=tuple(arguments(inference)),
        environment=ENVIRONMENT | {"TRTLLM_NO_USAGE_STATS": "1"},
        files={OPTIONS: json.dumps(options(inference), indent=2) + "\n"},  # JSON is YAML
    )


def arguments(inference: Inference) -> list[str]:
    """It serves the model under the last part of its path; the web UI asks what it is called."""
    return [
        model_path(inference.model),
        "--host=0.0.0.0",
        f"--port={ENGINE_PORT}",
        "--backend=pytorch",
        f"--max_seq_len={inference.max_model_len}",
        f"--max_batch_size={inference.max_num_seqs}",
        f"--max_num_tokens={inference.max_num_batched_tokens}",
        f"--extra_llm_api_options={FILES}/{OPTIONS}",
        *inference.extra_args,
    ]


def options(inference: Inference) -> dict[str, Any]:
    return {
        "dtype": inference.dtype,
        "attn_backend": ATTENTION[inference.attention_backend],
        "enable_chunked_prefill": True,
        "kv_cache_config": {
            "enable_block_reuse": inference.prefix_caching,
            "free_gpu_memory_fraction": free_share(inference),
        },
    }


def free_share(inference: Inference) -> float:
    """This engine's share is one of what is free once the weights are loaded; the setting's is one of the whole card."""
    serving = inference.serving
    if serving is None:
        return inference.gpu_memory_utilization
    memory = serving.memory
    free = serving.gpu.memory_bytes - memory.taken_bytes
    return max(0.05, math.floor(100 * memory.kv_bytes / free) / 100) if free > 0 else 0.05
