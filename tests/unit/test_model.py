"""What the engine and the web UI are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.inference.model import model_path, vllm_arguments, webui_arguments
from components.settings import Inference


def flags(arguments: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (argument.partition("=") for argument in arguments)}


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
    assert flags(vllm_arguments(Inference(model=model)))["--model"] == folder
    assert flags(vllm_arguments(Inference(model=model)))["--served-model-name"] == model


@pytest.mark.parametrize(
    ("setting", "flag", "value"),
    [
        ({"dtype": "float16"}, "--dtype", "float16"),
        ({"max_model_len": 4096}, "--max-model-len", "4096"),
        ({"gpu_memory_utilization": 0.75}, "--gpu-memory-utilization", "0.75"),
    ],
)
def test_settings_become_flags(setting: dict[str, Any], flag: str, value: str) -> None:
    assert flags(vllm_arguments(Inference(**setting)))[flag] == value


def test_images_are_bounded_and_videos_refused() -> None:
    given = flags(vllm_arguments(Inference(max_images_per_prompt=7)))["--limit-mm-per-prompt"]
    assert json.loads(given) == {"image": 7, "video": 0}
    assert (
        flags(webui_arguments(Inference(max_images_per_prompt=7), drain_delay=1, drain_timeout=2))["--max-images"]
        == "7"
    )


def test_extra_arguments_come_last_so_that_they_win() -> None:
    assert vllm_arguments(Inference(extra_args=("--dtype=auto", "--enforce-eager")))[-2:] == [
        "--dtype=auto",
        "--enforce-eager",
    ]


@pytest.mark.parametrize(("dtype", "said"), [("bfloat16", {"--bf16"}), ("float16", {"--fp16"}), ("auto", set())])
def test_the_web_ui_is_started_as_in_the_manual(dtype: Any, said: set[str]) -> None:
    arguments = webui_arguments(Inference(dtype=dtype), drain_delay=5, drain_timeout=60)
    assert arguments[:2] == ["--model=Qwen/Qwen3-VL-4B-Instruct", "--device=cuda"]
    assert {"--bf16", "--fp16"} & set(arguments) == said
    assert flags(arguments)["--drain-timeout"] == "60"
