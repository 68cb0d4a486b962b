"""The flags of `vllm serve` that matter to the stand-in."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from latency import Card


@dataclass(frozen=True)
class Options:
    names: tuple[str, ...]
    root: str
    host: str
    port: int
    max_model_len: int
    max_num_seqs: int
    images: int
    max_output_tokens: int
    shutdown_timeout: float
    otlp_traces_endpoint: str
    card: Card


def parse_options(arguments: Sequence[str]) -> tuple[Options, list[str]]:
    """The flags of `vllm serve` that matter here, and those that were ignored."""
    parser = argparse.ArgumentParser(prog="engine.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", default="Qwen/Qwen3-VL-4B-Instruct")
    parser.add_argument("--served-model-name", nargs="+", default=[])
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-model-len", type=int, default=16384)
    parser.add_argument("--max-num-seqs", type=int, default=16)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    parser.add_argument("--limit-mm-per-prompt", default="")
    parser.add_argument("--override-generation-config", type=json.loads, default={})
    parser.add_argument("--shutdown-timeout", type=float, default=0.0)
    parser.add_argument("--otlp-traces-endpoint", default="")
    parser.add_argument("--time-scale", type=float, default=float(os.environ.get("LAB_ENGINE_TIME_SCALE", "1")))
    said, ignored = parser.parse_known_args(arguments)
    root = said.model
    options = Options(
        names=tuple(said.served_model_name) or (root,),
        root=root,
        host=said.host,
        port=said.port,
        max_model_len=said.max_model_len,
        max_num_seqs=said.max_num_seqs,
        images=_image_limit(said.limit_mm_per_prompt),
        max_output_tokens=int(said.override_generation_config.get("max_new_tokens", said.max_model_len)),
        shutdown_timeout=said.shutdown_timeout,
        otlp_traces_endpoint=said.otlp_traces_endpoint,
        card=Card(said.gpu_memory_utilization, said.time_scale),
    )
    return options, [flag.partition("=")[0] for flag in ignored if flag.startswith("--")]  # a value may be a secret


def _image_limit(text: str) -> int:
    """`{"image": 4}` or the older `image=4`; vLLM's default is 999."""
    if not text:
        return 999
    if text.lstrip().startswith("{"):
        limit = json.loads(text).get("image", 999)
        return int(limit["count"] if isinstance(limit, dict) else limit)
    return int(dict(pair.split("=") for pair in text.split(",")).get("image", 999))
