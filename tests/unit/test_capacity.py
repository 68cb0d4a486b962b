"""The capacity arithmetic against figures worked out by hand, and the page that is made of it."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from components.capacity.document import document
from components.capacity.gpus import BANDWIDTH_SHARE, GPUS
from components.capacity.models import ARCHITECTURES, architecture_name, image_tokens
from components.capacity.serving import Serving
from components.capacity.timing import (
    STEP_SECONDS,
    Request,
    highest_rate,
    latency,
    longest_answer_seconds,
    prefill_seconds,
    replicas,
    startup_seconds,
    step,
)

ROOT = Path(__file__).resolve().parents[2]
FOUR_B = Serving(architecture=ARCHITECTURES["Qwen3-VL-4B"], gpu=GPUS["rtx-4090d"])


@pytest.mark.parametrize(
    ("name", "billions"),
    [("Qwen3-VL-2B", 2.13), ("Qwen3-VL-4B", 4.44), ("Qwen3-VL-8B", 8.77), ("Qwen3-VL-32B", 33.4)],
)
def test_parameters_are_those_of_the_published_checkpoints(name: str, billions: float) -> None:
    assert ARCHITECTURES[name].parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_parts_of_the_4b_model_by_hand() -> None:
    model = FOUR_B.architecture
    assert model.layer_parameters / 1e9 == pytest.approx(3.63, abs=0.005)
    assert model.head_parameters / 1e9 == pytest.approx(0.39, abs=0.002)
    assert FOUR_B.kv_bytes_per_token == 144 * 1024


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("Qwen/Qwen3-VL-4B-Instruct", "Qwen3-VL-4B"),
        ("Qwen3-VL-8B-Thinking-FP8", "Qwen3-VL-8B"),
        ("somewhere/qwen3-vl-32b", "Qwen3-VL-32B"),
        ("Qwen/Qwen3-VL-4Bits", None),
        ("Qwen/Qwen2.5-VL-7B-Instruct", None),
    ],
)
def test_a_models_shape_is_read_from_its_name(model: str, shape: str | None) -> None:
    assert architecture_name(model) == shape


@pytest.mark.parametrize(
    ("width", "height", "tokens"), [(512, 512, 256), (1280, 720, 900), (1024, 1024, 1024), (1920, 1080, 2025)]
)
def test_image_tokens(width: int, height: int, tokens: int) -> None:
    assert image_tokens(width * height) == tokens


@pytest.mark.parametrize(
    ("width", "height", "milliseconds"), [(512, 512, 41), (1280, 720, 138), (1024, 1024, 163), (1920, 1080, 363)]
)
def test_a_prompt_on_a_4090d_takes_what_was_worked_out_by_hand(width: int, height: int, milliseconds: float) -> None:
    request = Request(pixels=width * height, output_tokens=1)
    assert prefill_seconds(FOUR_B, request) * 1e3 == pytest.approx(milliseconds, rel=0.06)


@pytest.mark.parametrize(("weights", "milliseconds"), [("16-bit", 8.0), ("8-bit", 4.4), ("4-bit", 2.7)])
def test_the_floor_of_a_step_is_one_pass_over_the_weights(weights: str, milliseconds: float) -> None:
    at_full_bandwidth = BANDWIDTH_SHARE * (step(replace(FOUR_B, weights=weights), 0).seconds(1) - STEP_SECONDS)
    assert at_full_bandwidth * 1e3 == pytest.approx(milliseconds, rel=0.01)


H100 = replace(FOUR_B, gpu=GPUS["h100-80gb"])
ASKED_TEXT = 56  # tokens of the questions in bench.gpu beside the image's


@pytest.mark.parametrize(("running", "milliseconds"), [(1, 4.79), (8, 5.18), (16, 5.43), (32, 6.12), (64, 7.12)])
def test_a_step_takes_what_it_took_on_an_h100(running: int, milliseconds: float) -> None:
    prompt, answer = 269, 512
    assert step(H100, prompt + answer / 2).seconds(running) * 1e3 == pytest.approx(milliseconds, rel=0.1)


@pytest.mark.parametrize(
    ("width", "height", "first", "answer"), [(512, 512, 70, 371), (1280, 720, 103, 407), (1024, 1024, 98, 402)]
)
def test_an_idle_h100_answers_as_it_did(width: int, height: int, first: float, answer: float) -> None:
    found = latency(H100, Request(pixels=width * height, output_tokens=64, text_tokens=ASKED_TEXT), 0)
    assert found is not None
    assert found.first_token_seconds * 1e3 == pytest.approx(first, rel=0.2)
    assert found.answer_seconds * 1e3 == pytest.approx(answer, rel=0.1)


def test_under_load_an_h100_with_four_processors_answers_as_it_did() -> None:
    request = Request(pixels=512 * 512, output_tokens=128, text_tokens=ASKED_TEXT)
    for rate, seconds in ((4.2, 1.02), (13.2, 1.82), (19.7, 2.91)):
        found = latency(H100, request, rate)
        assert found is not None
        assert found.answer_seconds == pytest.approx(seconds, rel=0.3)
    assert 19.7 < highest_rate(H100, request) < 28.3, "28.3 a second were too many, 19.7 were not"


@pytest.mark.parametrize(("weights", "tokens"), [("16-bit", 449_552), ("8-bit", 477_232)])
def test_the_kv_cache_is_a_little_smaller_than_vllms_on_an_h100(weights: str, tokens: int) -> None:
    assert 0.98 * tokens < replace(H100, weights=weights).kv_tokens <= tokens


def test_eight_bits_are_computed_faster_only_where_the_card_can() -> None:
    request = Request(pixels=512 * 512, output_tokens=1)
    for name, faster in (("rtx-4090d", True), ("a100-80gb", False)):
        sixteen = replace(FOUR_B, gpu=GPUS[name])
        assert (
            prefill_seconds(replace(sixteen, weights="8-bit"), request) < 0.9 * prefill_seconds(sixteen, request)
        ) is faster


@pytest.mark.parametrize(
    ("model", "gpu", "weights", "fits"),
    [
        ("Qwen3-VL-4B", "rtx-4090d", "16-bit", True),
        ("Qwen3-VL-8B", "rtx-4090d", "16-bit", True),
        ("Qwen3-VL-32B", "rtx-4090d", "4-bit", False),
        ("Qwen3-VL-32B", "l40s", "16-bit", False),
        ("Qwen3-VL-32B", "l40s", "8-bit", True),
        ("Qwen3-VL-32B", "h100-80gb", "16-bit", True),
    ],
)
def test_what_fits_where(model: str, gpu: str, weights: str, *, fits: bool) -> None:
    assert replace(FOUR_B, architecture=ARCHITECTURES[model], gpu=GPUS[gpu], weights=weights).fits is fits


def test_memory_by_hand() -> None:
    memory = FOUR_B.memory
    assert memory.share_bytes == pytest.approx(0.9 * 24564 * 1024**2, rel=1e-6)
    assert memory.weight_bytes / 1e9 == pytest.approx(8.87, abs=0.01)
    # 4096 image tokens, four copies (the last block and three taps) of 2560 values of 2 bytes
    assert memory.encoder_cache_bytes == 4096 * 4 * 2560 * 2
    assert memory.kv_bytes == memory.share_bytes - memory.taken_bytes
    assert FOUR_B.kv_tokens == memory.kv_bytes // (144 * 1024)


def test_a_larger_image_limit_takes_memory_from_the_kv_cache() -> None:
    assert replace(FOUR_B, max_image_pixels=16 * 1024 * 1024).kv_tokens < FOUR_B.kv_tokens


def test_seats_are_bounded_by_the_kv_cache_and_by_the_engine() -> None:
    assert FOUR_B.sequences(FOUR_B.max_model_len) == FOUR_B.kv_tokens // 8192
    assert FOUR_B.sequences(64) == FOUR_B.max_num_seqs


def test_more_load_means_later_answers_until_there_are_none() -> None:
    request = Request(pixels=512 * 512, output_tokens=64)
    most = highest_rate(FOUR_B, request)
    times = [found.answer_seconds for part in (0.0, 0.3, 0.6, 0.9) if (found := latency(FOUR_B, request, part * most))]
    assert len(times) == 4
    assert times == sorted(times)
    assert latency(FOUR_B, request, 1.05 * most) is None


def test_running_requests_follow_littles_law() -> None:
    request = Request(pixels=512 * 512, output_tokens=64)
    found = latency(FOUR_B, request, 5)
    assert found is not None
    assert found.running == pytest.approx(5 * 64 * found.token_seconds, rel=1e-4)


def test_the_highest_rate_keeps_its_bound_and_not_much_less() -> None:
    request = Request(pixels=512 * 512, output_tokens=64)
    rate = highest_rate(FOUR_B, request, 1.2)
    at, above = latency(FOUR_B, request, rate), latency(FOUR_B, request, 1.01 * rate)
    assert at is not None
    assert above is not None
    assert at.answer_seconds <= 1.2 < above.answer_seconds


def test_what_an_idle_replica_cannot_do_no_rate_can() -> None:
    assert highest_rate(FOUR_B, Request(pixels=1024 * 1024, output_tokens=256), 1.2) == 0


@pytest.mark.parametrize(("rate", "each", "count"), [(11.6, 5.8, 2), (34.7, 5.5, 7), (0.1, 5, 1), (10, 5, 2)])
def test_replicas_round_up(rate: float, each: float, count: int) -> None:
    assert replicas(rate, each) == count


def test_start_up_reads_what_is_on_disk() -> None:
    made_at_load = replace(FOUR_B, weights="8-bit", weights_on_disk="16-bit")
    smaller = replace(FOUR_B, weights="8-bit", weights_on_disk="8-bit")
    saved = startup_seconds(made_at_load, 200e6) - startup_seconds(smaller, 200e6)
    assert saved == pytest.approx(FOUR_B.architecture.layer_parameters / 200e6, rel=0.01)


def test_the_longest_answer_is_none_where_nothing_fits() -> None:
    nothing = replace(FOUR_B, architecture=ARCHITECTURES["Qwen3-VL-32B"])
    assert 10 < longest_answer_seconds(FOUR_B, 1024) < 60
    assert not math.isfinite(longest_answer_seconds(nothing, 1024))


def test_the_page_is_what_the_formulas_say() -> None:
    assert (ROOT / "docs/capacity.md").read_text() == document(), "run `make docs`"


def test_the_page_can_be_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "components.capacity"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == document()
