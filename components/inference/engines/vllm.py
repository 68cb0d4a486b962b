"""vLLM's command line and environment, with the flags of the release in versions.py (vllm/engine/arg_utils.py of v0.19.1)."""

from __future__ import annotations

import json
import math

from components.inference.engines.engine import ENVIRONMENT, Engine
from components.inference.model import ENGINE_PORT, model_path
from components.settings import Inference
from components.settings.inference import QUANTIZED_AT_LOAD
from components.tracing import Tracing

ATTENTION = {"flash-attn": "FLASH_ATTN", "flashinfer": "FLASHINFER", "triton": "TRITON_ATTN"}
# The list of hosts may not be empty, which would allow all of them; this name never resolves (RFC 6761).
NO_HOST = "none.invalid"


def engine(inference: Inference, tracing: Tracing | None = None) -> Engine:
    told = tracing if tracing and tracing.engine_spans else None
    return Engine(
        image="vllm",
        arguments=tuple(arguments(inference, told)),
        environment=ENVIRONMENT
        | {"VLLM_NO_USAGE_STATS": "1", "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}
        | (spans() if told else {}),
    )


def spans() -> dict[str, str]:
    """vLLM's exporter speaks gRPC unless told otherwise; a share of requests is followed by who asks it, never by itself."""
    return {
        "OTEL_SERVICE_NAME": "engine",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }


def arguments(inference: Inference, tracing: Tracing | None = None) -> list[str]:
    """Arguments of the image's OpenAI server; `inference.extraArgs` come last, so they win.

    The model is a flag, which `vllm serve` takes with a warning, because the image's older entry points take nothing else.
    It listens on every address of the pod, because the kubelet's probes and the metrics scraper come from outside the
    pod's loopback; no Service leads to this port. Videos are refused: nothing here bounds their size. An answer's length is
    bounded for every client, so that a leaving replica's last answer ends within its drain.
    """
    return [
        f"--model={model_path(inference.model)}",
        f"--served-model-name={inference.model}",
        "--host=0.0.0.0",
        f"--port={ENGINE_PORT}",
        f"--dtype={'bfloat16' if inference.dtype == 'fp8' else inference.dtype}",
        *quantization(inference),
        *attention(inference),
        f"--max-model-len={inference.max_model_len}",
        f"--max-num-seqs={inference.max_num_seqs}",
        f"--max-num-batched-tokens={inference.max_num_batched_tokens}",
        f"--gpu-memory-utilization={inference.gpu_memory_utilization}",
        f"--limit-mm-per-prompt={json.dumps(media_limits(inference))}",
        f"--mm-processor-kwargs={json.dumps({'max_pixels': inference.max_image_pixels})}",
        f"--mm-processor-cache-gb={inference.multimodal_cache_gib:g}",
        "--allowed-media-domains",
        *(inference.allowed_media_domains or (NO_HOST,)),
        "--enable-prefix-caching" if inference.prefix_caching else "--no-enable-prefix-caching",
        f"--override-generation-config={json.dumps({'max_new_tokens': inference.max_output_tokens})}",
        f"--shutdown-timeout={inference.shutdown_timeout_seconds}",
        *([f"--otlp-traces-endpoint={tracing.traces_url}"] if tracing else []),
        *inference.extra_args,
    ]


def quantization(inference: Inference) -> list[str]:
    """What is made of 16-bit weights at load. A checkpoint says itself how it is quantized; said here too, vLLM would take that
    for a wish and keep to the slower kernels of that name instead of Marlin's."""
    chosen = inference.effective_quantization
    return [f"--quantization={chosen}"] if chosen in QUANTIZED_AT_LOAD else []


def attention(inference: Inference) -> list[str]:
    chosen = ATTENTION.get(inference.attention_backend)
    return [f"--attention-backend={chosen}"] if chosen else []


def media_limits(inference: Inference) -> dict[str, object]:
    """Counts, and the largest image's sides: what the engine measures its own memory with when it starts."""
    side = math.isqrt(inference.max_image_pixels) // 32 * 32
    return {"image": {"count": inference.max_images_per_prompt, "width": side, "height": side}, "video": 0}
