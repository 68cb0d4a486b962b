"""The engines a replica may run, each as a container's image, command line, environment and files. Pure."""

from __future__ import annotations

from components.inference.engines import tensorrt_llm, vllm
from components.inference.engines.engine import Engine
from components.settings import Inference

__all__ = ["Engine", "engine"]


def engine(inference: Inference) -> Engine:
    """The one that the settings choose."""
    return {"vllm": vllm.engine, "tensorrt-llm": tensorrt_llm.engine}[inference.engine](inference)
