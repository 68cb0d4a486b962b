"""The model server against its card, its machines, its own deadlines and the load: refused at preview, with the numbers."""

from __future__ import annotations

from collections.abc import Iterator

from components.capacity.gpus import GIB
from components.capacity.models import ARCHITECTURES, image_tokens
from components.capacity.timing import highest_rate, latency, replicas
from components.settings import Settings
from components.settings.inference import EXIT_SECONDS, IMAGE_PULL_SECONDS
from components.settings.problem import Problem, listed
from components.settings.syntax import quantity

# Flags of the manual's webui.py, which engines do not know, and the settings that stand for them.
MANUAL_FLAGS = {
    "--bf16": "dtype: bfloat16",
    "--fp16": "dtype: float16",
    "--use-flash-attn": "attentionBackend: flash-attn",
    "--device": "gpuType",
}
# Flags of the engines that are written from a setting.
OWN_FLAGS = {
    "--model": "model",
    "--dtype": "dtype",
    "--quantization": "quantization",
    "--attention-backend": "attentionBackend",
    "--max-model-len": "maxModelLen",
    "--max-seq-len": "maxModelLen",
    "--max-num-seqs": "maxNumSeqs",
    "--max-batch-size": "maxNumSeqs",
    "--max-num-batched-tokens": "maxNumBatchedTokens",
    "--max-num-tokens": "maxNumBatchedTokens",
    "--gpu-memory-utilization": "gpuMemoryUtilization",
    "--free-gpu-memory-fraction": "gpuMemoryUtilization",
    "--kv-cache-free-gpu-memory-fraction": "gpuMemoryUtilization",
    "--limit-mm-per-prompt": "maxImagesPerPrompt",
    "--mm-processor-kwargs": "maxImagePixels",
    "--mm-processor-cache-gb": "multimodalCacheGib",
    "--enable-prefix-caching": "prefixCaching",
    "--no-enable-prefix-caching": "prefixCaching",
    "--override-generation-config": "maxOutputTokens",
    "--shutdown-timeout": "shutdownTimeoutSeconds",
    "--allowed-media-domains": "allowedMediaDomains",
}
# Flags that are the same for every stack: probes, routes and the web UI count with them.
FIXED_FLAGS = ("--served-model-name", "--host", "--port", "--backend", "--extra-llm-api-options", "--config")
# What the engine's processes hold beside the cache of prepared images: Python, PyTorch, CUDA's host side.
ENGINE_BASE_GIB = 4


def gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB"


def known_model(settings: Settings) -> Iterator[Problem]:
    inference = settings.inference
    if inference.shape is None:
        found = f"`{inference.model}` begins with none of {listed(ARCHITECTURES)}"
        rule = "memory, start-up and rates are computed from the model's shape"
        yield Problem("inference.architecture", f"absent, and {found}", rule, "Name the one it is built like")


def precision(settings: Settings) -> Iterator[Problem]:
    inference = settings.inference
    if inference.dtype == "fp8" and inference.quantization not in (None, "fp8"):
        found = f"`{inference.quantization}` beside `dtype: fp8`"
        yield Problem("inference.quantization", found, "weights have one format", "Remove one of the two")
    if inference.engine == "tensorrt-llm":
        if inference.effective_quantization in ("fp8", "bitsandbytes", "gptq"):
            found = f"`{inference.effective_quantization}` with `engine: tensorrt-llm`"
            rule = "this engine takes checkpoints that are quantized already (modelopt, awq, compressed-tensors)"
            path = "inference.dtype" if inference.dtype == "fp8" else "inference.quantization"
            yield Problem(path, found, rule, "Quantize the checkpoint with ModelOpt, or use vllm")
        if inference.attention_backend == "triton":
            rule = "tensorrt-llm has its own kernels, flashinfer and flash-attn"
            yield Problem("inference.attentionBackend", "`triton` with `engine: tensorrt-llm`", rule, "Choose `auto`")


def flags(settings: Settings) -> Iterator[Problem]:
    for index, text in enumerate(settings.inference.extra_args):
        path, name = f"inference.extraArgs[{index}]", text.partition("=")[0]
        plain = name.replace("_", "-")
        if plain in MANUAL_FLAGS:
            rule = "it is a flag of webui.py, which no engine knows"
            yield Problem(path, f"`{name}`", rule, f"Write `{MANUAL_FLAGS[plain]}` below `inference`")
        elif plain in OWN_FLAGS:
            place = f"inference.{OWN_FLAGS[plain]}"
            yield Problem(path, f"`{name}`", f"its place is {place}", f"Move it to {place}")
        elif plain in FIXED_FLAGS:
            yield Problem(path, f"`{name}`", "the program writes it, and others count with its value", "Remove it")


def fits(settings: Settings) -> Iterator[Problem]:
    """The model, its working memory and one sequence of the full length, in the engine's share of the card."""
    inference, serving = settings.inference, settings.inference.serving
    if serving is None or serving.fits:
        return
    memory = serving.memory
    wanted = serving.max_model_len * serving.kv_bytes_per_token
    found = (
        f"{inference.model} with {serving.weights} weights needs {gib(memory.weight_bytes)} for them, "
        f"{gib(memory.activation_bytes + memory.encoder_cache_bytes)} to work in, {gib(memory.runtime_bytes)} for CUDA and "
        f"{gib(wanted)} for one sequence of {serving.max_model_len} tokens"
    )
    rule = (
        f"the engine has {serving.memory_share:g} of {inference.card}'s {gib(serving.gpu.memory_bytes)}: "
        f"{gib(memory.share_bytes)}"
    )
    room = memory.kv_bytes // serving.kv_bytes_per_token
    if room >= 256:
        yield Problem("inference.maxModelLen", found, rule, f"Write {room // 256 * 256} or less")
    else:
        yield Problem("inference.model", found, rule, "Choose a smaller model, `dtype: fp8` or a larger card")


def prompt(settings: Settings) -> Iterator[Problem]:
    """As many images as allowed, each as large as allowed, and the longest answer are one sequence."""
    inference = settings.inference
    each = image_tokens(inference.max_image_pixels)
    if each > inference.max_num_batched_tokens:
        found = f"{inference.max_image_pixels} pixels are {each} tokens"
        rule = (
            f"an image is encoded in one step, and a step has {inference.max_num_batched_tokens} (maxNumBatchedTokens)"
        )
        yield Problem(
            "inference.maxImagePixels", found, rule, f"Write {inference.max_num_batched_tokens * 1024} or less"
        )
    total = each * inference.max_images_per_prompt + inference.max_output_tokens
    if total > inference.max_model_len:
        images = f"{inference.max_images_per_prompt} images of {each} tokens"
        found = f"{images} and an answer of {inference.max_output_tokens} are {total}"
        rule = f"prompt and answer share maxModelLen, {inference.max_model_len} tokens"
        yield Problem("inference.maxImagesPerPrompt", found, rule, "Allow fewer, smaller images or a longer sequence")


def host_memory(settings: Settings) -> Iterator[Problem]:
    inference = settings.inference
    cache = 2 * inference.multimodal_cache_gib * GIB
    if inference.engine == "vllm" and cache and cache + ENGINE_BASE_GIB * GIB > quantity(inference.memory):
        found = f"{inference.multimodal_cache_gib:g} GiB, held by two processes"
        rule = (
            f"with {ENGINE_BASE_GIB} GiB for the engine itself it has to fit into inference.memory, {inference.memory}"
        )
        yield Problem("inference.multimodalCacheGib", found, rule, "Lower it or raise the memory")


def deadlines(settings: Settings) -> Iterator[Problem]:
    inference = settings.inference
    expected = inference.expected_startup_seconds
    if inference.startup_budget_seconds < expected:
        serving = inference.serving
        reading = serving.weight_bytes(serving.weights_on_disk) / 1e9 if serving else 0
        found = f"{inference.startup_budget_seconds} s"
        rule = (
            f"{inference.model} takes about {expected:.0f} s to start: {reading:.1f} GB read at "
            f"{inference.model_read_mb_per_second:g} MB/s, then loading, compiling and capturing graphs"
        )
        yield Problem("inference.startupSeconds", found, rule, "Remove it, or write more than twice as long")
    longest = inference.longest_answer_seconds
    if inference.effective_drain_seconds < longest:
        found = f"{inference.effective_drain_seconds} s"
        rule = f"an answer of {inference.max_output_tokens} tokens takes up to {longest:.0f} s on {inference.card}"
        yield Problem("inference.drainSeconds", found, rule, "Raise it or lower inference.maxOutputTokens")
    if inference.grace_seconds < inference.leaving_seconds + EXIT_SECONDS:
        found = f"{inference.grace_seconds} s"
        rule = (
            f"delay {inference.drain_delay_seconds} s, drain {inference.effective_drain_seconds} s, engine shutdown "
            f"{inference.shutdown_timeout_seconds} s and {EXIT_SECONDS} s to exit come one after the other"
        )
        remedy = f"Remove it, or write {inference.leaving_seconds + EXIT_SECONDS} or more"
        yield Problem("inference.terminationGraceSeconds", found, rule, remedy)
    if inference.await_seconds is not None and inference.await_seconds < inference.step_seconds:
        found = f"{inference.await_seconds} s"
        rule = (
            f"one replica may take {inference.step_seconds} s: {IMAGE_PULL_SECONDS} s to pull its image and "
            f"{inference.startup_budget_seconds} s to start"
        )
        yield Problem("inference.awaitSeconds", found, rule, "Remove it, or write more")


def gateway(settings: Settings) -> Iterator[Problem]:
    """The gateway waits at least as long for an answer, and for its own last ones, as an answer takes."""
    longest, ingress = settings.inference.longest_answer_seconds, settings.ingress
    for key, seconds in (("answerSeconds", ingress.answer_seconds), ("drainSeconds", ingress.drain_seconds)):
        if seconds < longest:
            tokens = settings.inference.max_output_tokens
            rule = f"an answer of {tokens} tokens takes up to {longest:.0f} s on {settings.inference.card}"
            yield Problem(f"ingress.{key}", f"{seconds} s", rule, "Raise it or lower inference.maxOutputTokens")


def gpus(settings: Settings) -> Iterator[Problem]:
    """The first size; the autoscaler's bounds are judged by themselves."""
    workers, gpus, wanted = settings.workers, settings.gpu_slots, settings.inference.replicas
    if not settings.nodes:
        return
    if not workers:
        yield Problem("nodes", "no worker", "the service runs on workers", "Give a node `role: worker`")
    elif wanted > gpus:
        found = f"{wanted} replicas for {gpus} GPU{'' if gpus == 1 else 's'} of {len(workers)} workers"
        remedy = (
            f"Write {gpus} or add GPUs to the workers in `nodes`" if gpus else "Write `gpus` at the workers in `nodes`"
        )
        yield Problem("inference.replicas", found, "each replica takes one GPU", remedy)


def disruption(settings: Settings) -> Iterator[Problem]:
    inference, path = settings.inference, "inference.maxUnavailable"
    if inference.max_unavailable == 0:
        yield Problem(path, "0", "a drain would wait for ever", "Write 1")
    elif 1 < inference.replicas <= inference.max_unavailable:
        found = f"{inference.max_unavailable} of {inference.replicas} replicas"
        yield Problem(path, found, "drains could take all of them at once", f"Write {inference.replicas - 1} or less")


def outage(settings: Settings) -> Iterator[Problem]:
    """A pod cannot start before the GPU that it needs is free, and the only one is taken by the pod it replaces."""
    inference = settings.inference
    if settings.workers and inference.replicas == settings.gpu_slots == 1 and not inference.allow_outage:
        found = "1 replica on the only GPU"
        rule = f"every update and every drain is then an outage of up to {inference.startup_budget_seconds} s"
        yield Problem("inference.allowOutage", found, rule, "Add a GPU and a replica, or write `true`")


def load(settings: Settings) -> Iterator[Problem]:
    inference, serving, wanted = settings.inference, settings.inference.serving, settings.inference.expected_load
    if wanted is None or serving is None or not serving.fits:
        return
    request, path = wanted.request(), "inference.expectedLoad"
    asked = f"{wanted.pixels} pixels, {wanted.images} image{'' if wanted.images == 1 else 's'} and {wanted.output_tokens} tokens"
    rate = highest_rate(serving, request, wanted.answer_seconds)
    most = settings.replica_bounds.most
    if not rate:
        alone = latency(serving, request, 0)
        least = f"{alone.answer_seconds:.2f} s" if alone else "more than that"
        rule = f"{asked} take {least} on an idle {inference.card} with {serving.weights} weights"
        yield Problem(
            f"{path}.answerSeconds", f"{wanted.answer_seconds:g} s", rule, "Allow more time or shorten answers"
        )
    elif (needed := replicas(wanted.requests_per_second, rate)) > most:
        found = f"{wanted.requests_per_second:g} requests/s need {needed} replicas; at most {most} run"
        rule = f"one {inference.card} carries {rate:.1f} a second of {asked} at a mean of {wanted.answer_seconds:g} s"
        yield Problem(f"{path}.requestsPerSecond", found, rule, "Add GPUs and replicas, or change what is expected")
