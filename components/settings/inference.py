"""What the model server runs: engine, model, card, limits, and how long each phase may take."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from components.capacity.gpus import GIB, GPUS
from components.capacity.gpus import Gpu as GpuSheet
from components.capacity.models import ARCHITECTURES, architecture_name
from components.capacity.serving import Serving
from components.capacity.timing import Request, longest_answer_seconds, startup_seconds
from components.settings.base import Model
from components.settings.syntax import DnsName, Quantity

# What the engine needs to leave after its last answer: worker processes, GPU memory.
EXIT_SECONDS = 5
LEAST_DRAIN_SECONDS = 60
LEAST_STARTUP_SECONDS = 300
# A start that shares its disk and its processors with others takes up to twice as long as one alone.
STARTUP_MARGIN = 2
# Pulling an engine image of 10 GB over a shared 1 Gbit/s line, with room for several nodes at once.
IMAGE_PULL_SECONDS = 900

GpuType = Literal["rtx-4090d", "rtx-4090", "l40s", "a100-80gb", "h100-80gb", "h200"]
ArchitectureName = Literal["Qwen3-VL-2B", "Qwen3-VL-4B", "Qwen3-VL-8B", "Qwen3-VL-32B"]
Quantization = Literal["fp8", "awq", "gptq", "compressed-tensors", "modelopt", "bitsandbytes"]
WEIGHTS: dict[str | None, str] = {
    None: "16-bit",
    "fp8": "8-bit",
    "compressed-tensors": "8-bit",
    "modelopt": "8-bit",
    "awq": "4-bit",
    "gptq": "4-bit",
    "bitsandbytes": "4-bit",
}
# Made of a 16-bit checkpoint while it is loaded; the others are checkpoints that hold fewer bits already.
QUANTIZED_AT_LOAD = ("fp8", "bitsandbytes")


class Gpu(Model):
    """A card that `gpuType` does not know, from its data sheet."""

    memory_gib: float = Field(gt=0, description="Memory as nvidia-smi reports it, in GiB.")
    bandwidth_gb_per_second: float = Field(gt=0, description="Memory bandwidth in GB/s.")
    tflops: float = Field(gt=0, description="Dense 16-bit tensor throughput with 32-bit accumulation, in TFLOPS.")
    tflops_fp8: float | None = Field(default=None, gt=0, description="Dense FP8 throughput; absent if it has none.")

    def sheet(self) -> GpuSheet:
        return GpuSheet(
            memory_bytes=int(self.memory_gib * GIB),
            bandwidth_bytes_per_second=self.bandwidth_gb_per_second * 1e9,
            flops_16bit=self.tflops * 1e12,
            flops_8bit=self.tflops_fp8 * 1e12 if self.tflops_fp8 else None,
        )


class Load(Model):
    """The load the service is meant for; a config whose replicas cannot carry it is refused."""

    requests_per_second: float = Field(gt=0, description="Requests a second at the busiest time.")
    pixels: int = Field(default=512 * 512, ge=1024, description="Pixels of one image.")
    images: int = Field(default=1, ge=0, description="Images in one request.")
    output_tokens: int = Field(default=128, ge=1, description="Length of an answer in tokens.")
    answer_seconds: float = Field(default=1.2, gt=0, description="Mean time a whole answer may take.")

    def request(self) -> Request:
        return Request(pixels=self.pixels, images=self.images, output_tokens=self.output_tokens)


class Inference(Model):
    """The Deployment `qwen3-vl-webui`: web UI and engine in one pod. What a card can do with it: [capacity](capacity.md)."""

    engine: Literal["vllm", "tensorrt-llm"] = Field(default="vllm", description="Inference engine.")
    model: str = Field(
        default="Qwen/Qwen3-VL-4B-Instruct", description="Model; its last part is the folder below `/models`."
    )
    architecture: ArchitectureName | None = Field(
        default=None, description="Shape of a model whose name does not begin with one of these."
    )
    replicas: int = Field(default=2, ge=1, description="First size; one GPU each.")
    gpu_type: GpuType = Field(default="rtx-4090d", description="The workers' GPUs.")
    gpu: Gpu | None = Field(default=None, description="Their data sheet, for a card that `gpuType` does not know.")
    dtype: Literal["auto", "bfloat16", "float16", "fp8"] = Field(
        default="bfloat16",
        description="Number format: the manual's `--bf16`, `--fp16`; `fp8` makes 8-bit weights of 16-bit ones at load.",
    )
    quantization: Quantization | None = Field(
        default=None,
        description="How the weights are quantized: `fp8`, `bitsandbytes` at load, the others in the checkpoint.",
    )
    attention_backend: Literal["auto", "flash-attn", "flashinfer", "triton"] = Field(
        default="auto", description="Attention kernels; `flash-attn` is the manual's `--use-flash-attn`."
    )
    max_model_len: int = Field(default=8192, ge=256, description="Longest prompt and answer together, in tokens.")
    max_output_tokens: int = Field(default=1024, ge=1, description="Longest answer, in tokens; nobody gets more.")
    max_num_seqs: int = Field(default=64, ge=1, description="Requests the engine runs at the same time.")
    max_num_batched_tokens: int = Field(
        default=4096, ge=256, description="Prompt tokens of one step: more is faster overall, fewer keeps answers even."
    )
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Share of the GPU's memory the engine takes."
    )
    prefix_caching: bool = Field(default=True, description="Keep the KV cache of prompts that begin alike.")
    multimodal_cache_gib: float = Field(
        default=2,
        ge=0,
        description="Cache of prepared images in GiB, held twice in the pod's memory; 0: none. vLLM only.",
    )
    max_images_per_prompt: int = Field(default=4, ge=1, description="Images one request may carry.")
    max_image_pixels: int = Field(
        default=1024 * 1024, ge=1024, description="Larger images are scaled down to this many pixels."
    )
    max_body_mib: int = Field(default=32, ge=1, le=512, description="Largest request body in MiB.")
    allowed_media_domains: tuple[DnsName, ...] = Field(
        default=(), description="Hosts that images may be fetched from by address; none: images come in the request."
    )
    cpu: Quantity = Field(default="4000m", description="CPU request of the pod's engine container.")
    memory: Quantity = Field(default="16Gi", description="Memory request and limit of the engine container.")
    webui_cpu: Quantity = Field(default="250m", description="CPU request of the web UI container.")
    webui_memory: Quantity = Field(default="1Gi", description="Memory request and limit of the web UI container.")
    model_read_mb_per_second: float = Field(
        default=200, gt=0, description="Rate in MB/s at which a worker reads the model's files when nothing is cached."
    )
    startup_seconds: int | None = Field(
        default=None,
        ge=10,
        description="Start-up probe budget in seconds; default: twice what the model takes, 300 at least.",
    )
    drain_delay_seconds: int = Field(
        default=5,
        ge=0,
        description="A leaving replica goes on accepting for so long, until every node has heard of it.",
    )
    drain_seconds: int | None = Field(
        default=None, ge=1, description="Then answers in flight get so long; default: the longest answer, 60 at least."
    )
    shutdown_timeout_seconds: int = Field(
        default=10, ge=0, description="Then the engine gets so long for what it still works on."
    )
    termination_grace_seconds: int | None = Field(
        default=None, ge=1, description="Kubernetes' limit on all of it; default: their sum and 5 s to exit."
    )
    await_seconds: int | None = Field(
        default=None, ge=60, description="How long `up` waits for a rollout; default: what the slowest one may take."
    )
    max_unavailable: int = Field(default=1, ge=0, description="Replicas that drains may take at the same time.")
    allow_outage: bool = Field(
        default=False,
        description="Accept that updates interrupt the service: one replica, and no GPU to start another on.",
    )
    expected_load: Load | None = Field(default=None, description="Load to check the replicas against.")
    extra_args: tuple[str, ...] = Field(default=(), description="Further flags of the engine, passed as they are.")

    @property
    def effective_quantization(self) -> Quantization | None:
        return "fp8" if self.dtype == "fp8" and self.quantization is None else self.quantization

    @property
    def card(self) -> str:
        """The card's name in messages."""
        return "inference.gpu" if self.gpu else self.gpu_type

    @property
    def shape(self) -> str | None:
        """Key of ARCHITECTURES; None for a model nobody described."""
        return self.architecture or architecture_name(self.model)

    @property
    def serving(self) -> Serving | None:
        """What the arithmetic of components/capacity works on; None for a model nobody described."""
        if self.shape is None:
            return None
        quantization = self.effective_quantization
        return Serving(
            architecture=ARCHITECTURES[self.shape],
            gpu=self.gpu.sheet() if self.gpu else GPUS[self.gpu_type],
            weights=WEIGHTS[quantization],
            weights_on_disk="16-bit" if quantization in QUANTIZED_AT_LOAD else WEIGHTS[quantization],
            memory_share=self.gpu_memory_utilization,
            max_model_len=self.max_model_len,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
            max_image_pixels=self.max_image_pixels,
        )

    @property
    def expected_startup_seconds(self) -> float:
        """What a start takes with nothing cached; 0 if the model is not known."""
        return startup_seconds(self.serving, self.model_read_mb_per_second * 1e6) if self.serving else 0

    @property
    def startup_budget_seconds(self) -> int:
        derived = 60 * math.ceil(STARTUP_MARGIN * self.expected_startup_seconds / 60)
        return self.startup_seconds or max(LEAST_STARTUP_SECONDS, derived)

    @property
    def longest_answer_seconds(self) -> float:
        """0 if the model is not known or does not fit."""
        serving = self.serving
        return longest_answer_seconds(serving, self.max_output_tokens) if serving and serving.fits else 0

    @property
    def effective_drain_seconds(self) -> int:
        return self.drain_seconds or max(LEAST_DRAIN_SECONDS, 10 * math.ceil(self.longest_answer_seconds / 10))

    @property
    def leaving_seconds(self) -> int:
        """Delay, drain and engine shutdown, one after the other; exiting comes on top."""
        return self.drain_delay_seconds + self.effective_drain_seconds + self.shutdown_timeout_seconds

    @property
    def grace_seconds(self) -> int:
        return self.termination_grace_seconds or self.leaving_seconds + EXIT_SECONDS

    @property
    def step_seconds(self) -> int:
        """Longest time from a new replica's creation to its readiness that is still normal."""
        return IMAGE_PULL_SECONDS + self.startup_budget_seconds
