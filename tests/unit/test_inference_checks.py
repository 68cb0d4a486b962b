"""A model server that cannot work is refused at preview, with the numbers: one setting changed, the exact lines."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.inference.engines import engine
from components.settings import Inference
from components.settings.checks.inference import FIXED_FLAGS, MANUAL_FLAGS, OWN_FLAGS
from components.settings.parse import parse
from components.settings.problem import SettingsError
from components.settings.syntax import quantity
from tests.support.settings import VALID, with_value

FITS_8192 = (
    "the engine has 0.9 of rtx-4090d's 24.0 GiB: 21.6 GiB. Choose a smaller model, `dtype: fp8` or a larger card."
)
CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "a model nobody described",
        {"model": "Qwen/Qwen2.5-VL-7B-Instruct"},
        [
            "inference.architecture: absent, and `Qwen/Qwen2.5-VL-7B-Instruct` begins with none of `Qwen3-VL-2B`, "
            "`Qwen3-VL-4B`, "
            "`Qwen3-VL-8B` and `Qwen3-VL-32B`; memory, start-up and rates are computed from the model's shape. "
            "Name the one it is built like."
        ],
    ),
    (
        "a model too large for its card",
        {"model": "Qwen/Qwen3-VL-32B-Instruct"},
        [
            "inference.model: Qwen/Qwen3-VL-32B-Instruct with 16-bit weights needs 62.1 GiB for them, 0.9 GiB to work "
            "in, 1.5 GiB "
            f"for CUDA and 2.0 GiB for one sequence of 8192 tokens; {FITS_8192}"
        ],
    ),
    (
        "a sequence too long for its card",
        {"maxModelLen": 131072},
        [
            "inference.maxModelLen: Qwen/Qwen3-VL-4B-Instruct with 16-bit weights needs 8.3 GiB for them, 0.6 GiB to "
            "work in, 1.5 GiB "
            "for CUDA and 18.0 GiB for one sequence of 131072 tokens; the engine has 0.9 of rtx-4090d's 24.0 GiB: 21.6 GiB. "
            "Write 81920 or less."
        ],
    ),
    (
        "a small card by its data sheet",
        {"gpu": {"memoryGib": 8, "bandwidthGbPerSecond": 400, "tflops": 60}},
        [
            "inference.model: Qwen/Qwen3-VL-4B-Instruct with 16-bit weights needs 8.3 GiB for them, 0.6 GiB to work "
            "in, 1.5 GiB for "
            "CUDA and 1.1 GiB for one sequence of 8192 tokens; the engine has 0.9 of inference.gpu's 8.0 GiB: 7.2 GiB. "
            "Choose a smaller model, `dtype: fp8` or a larger card."
        ],
    ),
    (
        "images that are no step's",
        {"maxImagePixels": 8294400, "maxModelLen": 36864},
        [
            "inference.maxImagePixels: 8294400 pixels are 8100 tokens; an image is encoded in one step, and a step has 4096 "
            "(maxNumBatchedTokens). Write 4194304 or less."
        ],
    ),
    (
        "more images than a sequence holds",
        {"maxImagesPerPrompt": 8},
        [
            "inference.maxImagesPerPrompt: 8 images of 1024 tokens and an answer of 1024 are 9216; prompt and answer share "
            "maxModelLen, 8192 tokens. Allow fewer, smaller images or a longer sequence."
        ],
    ),
    (
        "a cache larger than the pod's memory",
        {"multimodalCacheGib": 7},
        [
            "inference.multimodalCacheGib: 7 GiB, held by two processes; with 4 GiB for the engine itself it has to fit into "
            "inference.memory, 16Gi. Lower it or raise the memory."
        ],
    ),
    (
        "a start-up budget below the start",
        {"startupSeconds": 120},
        [
            "inference.startupSeconds: 120 s; Qwen/Qwen3-VL-4B-Instruct takes about 212 s to start: 8.9 GB read at "
            "200 MB/s, then "
            "loading, compiling and capturing graphs. Remove it, or write more than twice as long."
        ],
    ),
    (
        "a drain below the longest answer",
        {"drainSeconds": 10},
        [
            "inference.drainSeconds: 10 s; an answer of 1024 tokens takes up to 20 s on rtx-4090d. "
            "Raise it or lower inference.maxOutputTokens."
        ],
    ),
    (
        "a grace period below what it is for",
        {"terminationGraceSeconds": 70},
        [
            "inference.terminationGraceSeconds: 70 s; delay 5 s, drain 60 s, engine shutdown 10 s and 5 s to exit "
            "come one after the "
            "other. Remove it, or write 80 or more."
        ],
    ),
    (
        "an await below a replica's start",
        {"awaitSeconds": 600},
        [
            "inference.awaitSeconds: 600 s; one replica may take 1380 s: 900 s to pull its image and 480 s to start. "
            "Remove it, or write more."
        ],
    ),
    (
        "a budget that lets no drain through",
        {"maxUnavailable": 0},
        ["inference.maxUnavailable: 0; a drain would wait for ever. Write 1."],
    ),
    (
        "a budget that lets drains take all",
        {"maxUnavailable": 2},
        ["inference.maxUnavailable: 2 of 2 replicas; drains could take all of them at once. Write 1 or less."],
    ),
    (
        "two formats of the weights",
        {"dtype": "fp8", "quantization": "awq"},
        ["inference.quantization: `awq` beside `dtype: fp8`; weights have one format. Remove one of the two."],
    ),
    (
        "an engine that does not quantize",
        {"engine": "tensorrt-llm", "dtype": "fp8"},
        [
            "inference.dtype: `fp8` with `engine: tensorrt-llm`; this engine takes checkpoints that are quantized "
            "already (modelopt, "
            "awq, compressed-tensors). Quantize the checkpoint with ModelOpt, or use vllm."
        ],
    ),
    (
        "kernels of the other engine",
        {"engine": "tensorrt-llm", "attentionBackend": "triton"},
        [
            "inference.attentionBackend: `triton` with `engine: tensorrt-llm`; tensorrt-llm has its own kernels, "
            "flashinfer and "
            "flash-attn. Choose `auto`."
        ],
    ),
    (
        "flags of the manual and of settings",
        {"extraArgs": ["--fp16", "--use-flash-attn", "--max_num_seqs=3", "--enforce-eager", "--port=80"]},
        [
            "inference.extraArgs[0]: `--fp16`; it is a flag of webui.py, which no engine knows. Write `dtype: float16` below "
            "`inference`.",
            "inference.extraArgs[1]: `--use-flash-attn`; it is a flag of webui.py, which no engine knows. Write "
            "`attentionBackend: flash-attn` below `inference`.",
            "inference.extraArgs[2]: `--max_num_seqs`; its place is inference.maxNumSeqs. Move it to inference.maxNumSeqs.",
            "inference.extraArgs[4]: `--port`; the program writes it, and others count with its value. Remove it.",
        ],
    ),
    (
        "a load above the replicas",
        {"dtype": "fp8", "expectedLoad": {"requestsPerSecond": 34.7}},
        [
            "inference.expectedLoad.requestsPerSecond: 34.7 requests/s need 12 replicas; at most 2 run; one rtx-4090d "
            "carries 3.0 a "
            "second of 262144 pixels, 1 image and 128 tokens at a mean of 1.2 s. Add GPUs and replicas, or change "
            "what is expected."
        ],
    ),
    (
        "a latency that no rate allows",
        {"expectedLoad": {"requestsPerSecond": 1, "pixels": 1048576, "outputTokens": 256}},
        [
            "inference.expectedLoad.answerSeconds: 1.2 s; 1048576 pixels, 1 image and 256 tokens take 3.11 s on an "
            "idle rtx-4090d "
            "with 16-bit weights. Allow more time or shorten answers."
        ],
    ),
]


def problems(config: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(config)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("inference", "lines"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_contradiction(inference: dict[str, Any], lines: list[str]) -> None:
    assert problems(with_value(("inference",), inference)) == lines


@pytest.mark.parametrize("name", ["vllm", "tensorrt-llm"])
def test_no_flag_that_is_written_can_be_given_a_second_time(name: Any) -> None:
    chosen = Inference(engine=name, dtype="float16", quantization="awq", attention_backend="flashinfer")
    written = {text.partition("=")[0].replace("_", "-") for text in engine(chosen).arguments if text.startswith("--")}
    assert written <= {*OWN_FLAGS, *FIXED_FLAGS}


def test_the_settings_that_flags_belong_to_exist() -> None:
    keys = {str(field.alias) for field in Inference.model_fields.values()}
    assert set(OWN_FLAGS.values()) | {place.partition(":")[0] for place in MANUAL_FLAGS.values()} <= keys


@pytest.mark.parametrize(
    ("text", "number"),
    [("4000m", 4), ("250m", 0.25), ("2", 2), ("16Gi", 16 * 1024**3), ("1G", 1e9), ("1.5Mi", 1.5 * 1024**2)],
)
def test_quantities(text: str, number: float) -> None:
    assert quantity(text) == pytest.approx(number)


def single() -> dict[str, Any]:
    """One GPU, one replica."""
    config = copy.deepcopy(VALID)
    config["nodes"] = [node for node in config["nodes"] if node["name"] != "gpu-2"]
    config["inference"] = {"replicas": 1}
    return config


def test_one_replica_on_the_only_gpu_has_to_be_accepted() -> None:
    config = single()
    assert problems(config) == [
        "inference.allowOutage: 1 replica on the only GPU; every update and every drain is then an outage of up to 480 s. "
        "Add a GPU and a replica, or write `true`."
    ]
    config["inference"]["allowOutage"] = True
    assert parse(config).inference.allow_outage


def test_one_replica_with_a_spare_gpu_is_no_outage() -> None:
    parse(with_value(("inference",), {"replicas": 1}))


@pytest.mark.parametrize("key", ["answerSeconds", "drainSeconds"])
def test_the_gateway_waits_as_long_as_an_answer_takes(key: str) -> None:
    assert problems(with_value(("ingress",), {key: 10})) == [
        f"ingress.{key}: 10 s; an answer of 1024 tokens takes up to 20 s on rtx-4090d. "
        "Raise it or lower inference.maxOutputTokens."
    ]


@pytest.mark.parametrize(
    "inference",
    [
        {"model": "my/tuned-model", "architecture": "Qwen3-VL-4B"},
        {"model": "Qwen/Qwen3-VL-8B-Instruct"},
        {"model": "Qwen/Qwen3-VL-8B-Instruct", "dtype": "fp8"},
        {"model": "Qwen/Qwen3-VL-32B-Instruct", "gpuType": "h200"},
        {"engine": "tensorrt-llm"},
        {"engine": "tensorrt-llm", "quantization": "modelopt"},
        {"dtype": "fp8", "expectedLoad": {"requestsPerSecond": 5.8}},
        {"startupSeconds": 240, "terminationGraceSeconds": 90, "awaitSeconds": 3600},
    ],
)
def test_what_works_is_accepted(inference: dict[str, Any]) -> None:
    parse(with_value(("inference",), inference))


def test_deadlines_follow_from_the_model() -> None:
    small, large = (
        parse(with_value(("inference",), {"model": f"Qwen/Qwen3-VL-{size}-Instruct", "gpuType": "h200"})).inference
        for size in ("4B", "32B")
    )
    assert small.startup_budget_seconds == 480
    assert large.startup_budget_seconds == 1020  # twice 507 s, rounded up to minutes
    assert large.grace_seconds == large.drain_delay_seconds + large.effective_drain_seconds + 10 + 5
    assert large.step_seconds - small.step_seconds == 540
