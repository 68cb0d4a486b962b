"""What the model server runs: engine, model, sizes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import Quantity


class Inference(Model):
    """The Deployment `qwen3-vl-webui`: web UI and engine in one pod."""

    engine: Literal["vllm"] = Field(default="vllm", description="Inference engine.")
    model: str = Field(
        default="Qwen/Qwen3-VL-4B-Instruct", description="Model; its last part is the folder below `/models`."
    )
    replicas: int = Field(default=2, ge=1, description="First size; one GPU each.")
    dtype: Literal["auto", "bfloat16", "float16"] = Field(
        default="bfloat16", description="Number format of the weights."
    )
    max_model_len: int = Field(default=8192, ge=256, description="Longest prompt and answer together, in tokens.")
    max_images_per_prompt: int = Field(default=4, ge=1, description="Images one request may carry.")
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Share of the GPU's memory the engine takes."
    )
    cpu: Quantity = Field(default="4000m", description="CPU request of the pod's engine container.")
    memory: Quantity = Field(default="16Gi", description="Memory request and limit of the engine container.")
    webui_cpu: Quantity = Field(default="250m", description="CPU request of the web UI container.")
    webui_memory: Quantity = Field(default="1Gi", description="Memory request and limit of the web UI container.")
    startup_seconds: int = Field(
        default=900, ge=10, description="Start-up probe budget in seconds: model load and warm-up."
    )
    extra_args: tuple[str, ...] = Field(default=(), description="Further vLLM flags, passed as they are.")
