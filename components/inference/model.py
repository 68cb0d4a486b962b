"""What the engine is told: vLLM's command line and environment, from plain settings. Pure."""

from __future__ import annotations

import json

from components.settings import Inference

MODELS = "/models"
ENGINE_PORT = 8000


def model_path(model: str) -> str:
    """Folder of the model below the mounted store: the last part of its name, as the manual has it."""
    return f"{MODELS}/{model.rsplit('/', 1)[-1]}"


def vllm_arguments(inference: Inference) -> list[str]:
    """Arguments of the image's OpenAI server; `inference.extraArgs` come last, so they win.

    It listens on every address of the pod, because the kubelet's probes and the metrics scraper come from outside the
    pod's loopback; no Service leads to this port. Videos are refused: nothing here bounds their size.
    """
    return [
        f"--model={model_path(inference.model)}",
        f"--served-model-name={inference.model}",
        "--host=0.0.0.0",
        f"--port={ENGINE_PORT}",
        f"--dtype={inference.dtype}",
        f"--max-model-len={inference.max_model_len}",
        f"--gpu-memory-utilization={inference.gpu_memory_utilization}",
        f"--limit-mm-per-prompt={json.dumps({'image': inference.max_images_per_prompt, 'video': 0})}",
        *inference.extra_args,
    ]


def vllm_environment() -> dict[str, str]:
    """No user entry and no home in the image for the pod's user: both are named, or PyTorch refuses to start.

    Models come from the store only, never from the internet, and nothing is reported there.
    """
    return {
        "USER": "vllm",
        "HOME": "/home/vllm",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


def webui_arguments(inference: Inference, *, drain_delay: int, drain_timeout: int) -> list[str]:
    """The manual's command line, with the engine beside it and how long to go on after being told to stop (seconds)."""
    dtype = {"bfloat16": ["--bf16"], "float16": ["--fp16"]}.get(inference.dtype, [])
    return [
        f"--model={inference.model}",
        "--device=cuda",
        *dtype,
        f"--engine-url=http://127.0.0.1:{ENGINE_PORT}",
        f"--max-images={inference.max_images_per_prompt}",
        f"--drain-delay={drain_delay}",
        f"--drain-timeout={drain_timeout}",
    ]
