"""Where a replica finds its model, and what its web UI is told about it. Pure."""

from __future__ import annotations

from components.settings import Inference
from components.tracing import Tracing

MODELS = "/models"
ENGINE_PORT = 8000
MIB = 1024 * 1024


def model_path(model: str) -> str:
    """Folder of the model below the mounted store: the last part of its name, as the manual has it."""
    return f"{MODELS}/{model.rsplit('/', 1)[-1]}"


def webui_arguments(inference: Inference, tracing: Tracing | None = None) -> list[str]:
    """The manual's command line, with the engine beside it, its limits, and how long to go on after being told to stop."""
    dtype = {"bfloat16": ["--bf16"], "float16": ["--fp16"], "fp8": ["--bf16"]}.get(inference.dtype, [])
    return [
        f"--model={inference.model}",
        "--device=cuda",
        *dtype,
        *(["--use-flash-attn"] if inference.attention_backend == "flash-attn" else []),
        f"--engine-url=http://127.0.0.1:{ENGINE_PORT}",
        f"--max-new-tokens={inference.max_output_tokens}",
        f"--max-images={inference.max_images_per_prompt}",
        f"--max-pixels={inference.max_image_pixels}",
        f"--max-body={inference.max_body_mib * MIB}",
        f"--drain-delay={inference.drain_delay_seconds}",
        f"--drain-timeout={inference.effective_drain_seconds}",
        *([f"--otlp-traces-endpoint={tracing.traces_url}"] if tracing else []),
    ]
