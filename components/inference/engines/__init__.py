"""The engines a replica may run, each as a container's image, command line, environment and files. Pure."""

from __future__ import annotations

from components.inference.engines import tensorrt_llm, vllm
from components.inference.engines.engine import Engine
from components.settings import Inference
from components.tracing import Tracing

__all__ = ["Engine", "engine"]


def engine(inference: Inference, tracing: Tracing | None = None) -> Engine:
    """The one that the settings choose. TensorRT-LLM's server tells no spans; the web UI tells of the call with both."""
    if inference.engine == "tensorrt-llm":
        return tensorrt_llm.engine(inference)
    return vllm.engine(inference, tracing)
