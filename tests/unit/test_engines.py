"""What the engines and the web UI are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.inference.engines import engine
from components.inference.engines.engine import FILES
from components.inference.model import model_path, webui_arguments
from components.settings import Inference


def flags(arguments: tuple[str, ...] | list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (argument.partition("=") for argument in arguments)}


def vllm(**setting: Any) -> dict[str, str]:
    return flags(engine(Inference(**setting)).arguments)


def tensorrt(**setting: Any) -> tuple[dict[str, str], dict[str, Any]]:
    made = engine(Inference(engine="tensorrt-llm", **setting))
    options: dict[str, Any] = json.loads(made.files["options.yaml"])
    return flags(made.arguments), options


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("Qwen/Qwen3-VL-4B-Instruct", "/models/Qwen3-VL-4B-Instruct"),
        ("Qwen3-VL-8B-Instruct", "/models/Qwen3-VL-8B-Instruct"),
        ("a/b/c", "/models/c"),
    ],
)
def test_a_model_lies_under_its_last_name(model: str, folder: str) -> None:
    assert model_path(model) == folder
    assert vllm(model=model)["--model"] == folder
    assert vllm(model=model)["--served-model-name"] == model
    assert engine(Inference(engine="tensorrt-llm", model=model)).arguments[0] == folder


@pytest.mark.parametrize(
    ("setting", "flag", "value"),
    [
        ({"dtype": "float16"}, "--dtype", "float16"),
        ({"dtype": "fp8"}, "--dtype", "bfloat16"),
        ({"dtype": "fp8"}, "--quantization", "fp8"),
        ({"quantization": "bitsandbytes"}, "--quantization", "bitsandbytes"),
        ({"attention_backend": "flash-attn"}, "--attention-backend", "FLASH_ATTN"),
        ({"attention_backend": "flashinfer"}, "--attention-backend", "FLASHINFER"),
        ({"max_model_len": 4096}, "--max-model-len", "4096"),
        ({"max_num_seqs": 12}, "--max-num-seqs", "12"),
        ({"max_num_batched_tokens": 2048}, "--max-num-batched-tokens", "2048"),
        ({"gpu_memory_utilization": 0.75}, "--gpu-memory-utilization", "0.75"),
        ({"multimodal_cache_gib": 0}, "--mm-processor-cache-gb", "0"),
        ({"multimodal_cache_gib": 1.5}, "--mm-processor-cache-gb", "1.5"),
        ({"max_image_pixels": 262144}, "--mm-processor-kwargs", '{"max_pixels": 262144}'),
        ({"max_output_tokens": 300}, "--override-generation-config", '{"max_new_tokens": 300}'),
        ({"shutdown_timeout_seconds": 25}, "--shutdown-timeout", "25"),
    ],
)
def test_settings_become_vllms_flags(setting: dict[str, Any], flag: str, value: str) -> None:
    assert vllm(**setting)[flag] == value


@pytest.mark.parametrize("on", [True, False])
def test_prefix_caching_is_said_either_way(*, on: bool) -> None:
    assert ("--enable-prefix-caching" in vllm(prefix_caching=on)) is on
    assert ("--no-enable-prefix-caching" in vllm(prefix_caching=on)) is not on


def test_nothing_is_said_about_what_the_engine_finds_out_itself() -> None:
    assert not {"--quantization", "--attention-backend"} & set(vllm())
    assert "--quantization" not in vllm(quantization="awq"), (
        "said explicitly, it would keep vLLM from its faster kernels"
    )


def test_images_are_bounded_and_videos_refused() -> None:
    limits = json.loads(vllm(max_images_per_prompt=7, max_image_pixels=512 * 512)["--limit-mm-per-prompt"])
    assert limits == {"image": {"count": 7, "width": 512, "height": 512}, "video": 0}
    webui = flags(webui_arguments(Inference(max_images_per_prompt=7, max_image_pixels=512 * 512, max_body_mib=8)))
    assert (webui["--max-images"], webui["--max-pixels"], webui["--max-body"]) == ("7", "262144", str(8 * 1024**2))


@pytest.mark.parametrize(
    ("allowed", "said"), [((), ["none.invalid"]), (("a.example", "b.example"), ["a.example", "b.example"])]
)
def test_images_are_fetched_from_nowhere_unless_allowed(allowed: tuple[str, ...], said: list[str]) -> None:
    made = engine(Inference(allowed_media_domains=allowed))
    at = made.arguments.index("--allowed-media-domains")
    given = made.arguments[at + 1 :]
    assert list(given[: len(said)]) == said
    assert given[len(said)].startswith("--")
    assert made.environment["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_extra_arguments_come_last_so_that_they_win() -> None:
    extra = ("--performance-mode=throughput", "--enforce-eager")
    for name in ("vllm", "tensorrt-llm"):
        assert engine(Inference(engine=name, extra_args=extra)).arguments[-2:] == extra


@pytest.mark.parametrize(
    ("setting", "flag", "value"),
    [
        ({"max_model_len": 4096}, "--max_seq_len", "4096"),
        ({"max_num_seqs": 12}, "--max_batch_size", "12"),
        ({"max_num_batched_tokens": 2048}, "--max_num_tokens", "2048"),
    ],
)
def test_settings_become_flags_of_trtllm_serve(setting: dict[str, Any], flag: str, value: str) -> None:
    assert tensorrt(**setting)[0][flag] == value


def test_tensorrt_llm_reads_the_rest_from_a_file_that_the_pod_mounts() -> None:
    said, options = tensorrt(dtype="float16", prefix_caching=False, attention_backend="flashinfer")
    assert said["--extra_llm_api_options"] == f"{FILES}/options.yaml"
    assert (options["dtype"], options["attn_backend"]) == ("float16", "FLASHINFER")
    assert options["kv_cache_config"]["enable_block_reuse"] is False


def test_the_share_of_tensorrt_llm_counts_from_what_the_weights_leave() -> None:
    """0.9 of the card is 23.2 GB, weights and working memory take 11.1 of them: 12.1 of the 14.7 GB that are free then."""
    share = tensorrt()[1]["kv_cache_config"]["free_gpu_memory_fraction"]
    assert share == pytest.approx(0.82, abs=0.01)
    assert tensorrt(gpu_memory_utilization=0.6)[1]["kv_cache_config"]["free_gpu_memory_fraction"] < share


@pytest.mark.parametrize("name", ["vllm", "tensorrt-llm"])
def test_no_engine_reports_home_or_loads_from_the_internet(name: Any) -> None:
    environment = engine(Inference(engine=name)).environment
    assert environment["HF_HUB_OFFLINE"] == environment["DO_NOT_TRACK"] == "1"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"dtype": "bfloat16"}, {"--bf16"}),
        ({"dtype": "float16"}, {"--fp16"}),
        ({"dtype": "fp8"}, {"--bf16"}),
        ({"dtype": "auto"}, set()),
        ({"dtype": "auto", "attention_backend": "flash-attn"}, {"--use-flash-attn"}),
    ],
)
def test_the_web_ui_is_started_as_in_the_manual(setting: dict[str, Any], said: set[str]) -> None:
    arguments = webui_arguments(Inference(**setting))
    assert arguments[:2] == ["--model=Qwen/Qwen3-VL-4B-Instruct", "--device=cuda"]
    assert {"--bf16", "--fp16", "--use-flash-attn"} & set(arguments) == said


def test_the_web_ui_drains_as_long_as_the_settings_say() -> None:
    said = flags(webui_arguments(Inference(drain_delay_seconds=7, drain_seconds=99)))
    assert (said["--drain-delay"], said["--drain-timeout"]) == ("7", "99")
