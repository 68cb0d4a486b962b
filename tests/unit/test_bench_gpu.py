"""What `bench.gpu` makes of an engine's log, metrics and answers, and the checkpoint without weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.gpu import checkpoint
from bench.gpu.__main__ import means
from bench.gpu.asking import Answer, step_seconds
from bench.gpu.engine import read_log
from bench.load.questions import Questions, Shape
from components.capacity.models import ARCHITECTURES

# Lines of vLLM 0.20.2 on an H100.
LOG = """\
(EngineCore pid=897) INFO [gpu_model_runner.py:4879] Model loading took 8.62 GiB memory and 0.641334 seconds
(EngineCore pid=897) INFO [monitor.py:53] torch.compile took 34.12 s in total
(EngineCore pid=897) INFO [gpu_worker.py:440] Available KV cache memory: 61.74 GiB
(EngineCore pid=897) INFO [kv_cache_utils.py:1708] GPU KV cache size: 449,552 tokens
(EngineCore pid=897) INFO [gpu_model_runner.py:6133] Graph capturing finished in 3 secs, took 0.19 GiB
(EngineCore pid=897) INFO [core.py:299] init engine (profile, create kv cache, warmup model) took 52.34 s (compilation: 34.12 s)
"""


def test_figures_of_an_engines_log() -> None:
    assert read_log(LOG) == {
        "kv_tokens": 449_552,
        "kv_gib": 61.74,
        "weights_gib": 8.62,
        "weights_seconds": 0.641334,
        "compile_seconds": 34.12,
        "graph_seconds": 3,
        "graph_gib": 0.19,
        "init_seconds": 52.34,
    }
    assert read_log("") == {}


def test_a_step_is_taken_while_all_answers_are_written() -> None:
    early = Answer(0, tuple(1 + 0.1 * number for number in range(40)), 9, 40)
    late = Answer(0, tuple(2 + 0.1 * number for number in range(40)), 9, 40)
    assert step_seconds([early, late]) == pytest.approx(0.1, rel=0.05)
    pairs = Answer(0, tuple(2 + 0.2 * number for number in range(20)), 9, 40)  # two tokens an event
    assert step_seconds([pairs]) == pytest.approx(0.1, rel=0.06)
    with pytest.raises(ValueError, match="not written at the same time"):
        step_seconds([early, Answer(0, (6.0, 6.1), 9, 2)])


def test_means_are_of_what_came_between_two_looks() -> None:
    before = {"vllm:time_to_first_token_seconds_sum": 10.0, "vllm:time_to_first_token_seconds_count": 5.0}
    after = {"vllm:time_to_first_token_seconds_sum": 16.0, "vllm:time_to_first_token_seconds_count": 7.0}
    assert means(before, after) == {"engine_time_to_first_token_seconds": 3.0}
    assert means(after, after) == {}


@pytest.mark.parametrize("shape", ARCHITECTURES)
def test_a_checkpoint_without_weights_has_the_models_shape_and_numbers(tmp_path: Path, shape: str) -> None:
    checkpoint.write(tmp_path, shape)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["text_config"]["hidden_size"] == ARCHITECTURES[shape].width
    assert (config["image_token_id"], config["vision_start_token_id"]) == (151655, 151652)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    added = [each["id"] for each in tokenizer["added_tokens"]]
    assert added == list(range(added[0], added[0] + len(added))), "a gap, and a loader numbers them anew"
    assert len(tokenizer["model"]["vocab"]) == added[0], "each number below has a word"
    assert not list(tmp_path.glob("*.safetensors"))


def test_exact_answers_are_asked_for_in_vllms_words() -> None:
    shape = Shape(model="m", stream=True, max_tokens=8, exact=True, width=64, height=64, kilobytes=20)
    body = json.loads(Questions(shape, 0).body(1))
    assert body["ignore_eos"] is True
    assert body["stream_options"] == {"include_usage": True}
