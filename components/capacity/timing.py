"""How long a replica takes: to start, to answer one request, and to answer many at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.capacity.models import PATCHES_PER_TOKEN, image_tokens
from components.capacity.serving import Serving

# Text around an image: the question and the chat template.
TEXT_TOKENS = 32
# What the processors do, whatever the card; measured beside an H100, where they are the limit (bench/results/gpu-h100.md).
# A request before the engine is asked: HTTP, decoding and scaling its image. 23 ms at 512 x 512 pixels, 46 ms at 1024 x 1024.
HOST_SECONDS = 0.03
# An image in the engine, beside the GPU's arithmetic, while nobody decodes: 24 ms on 16 processors, 30 to 54 ms on 4, as a
# replica has. On a card that is slower than its processors it may hide behind the arithmetic; added there too, on the safe side.
IMAGE_SECONDS = 0.03
# A step of decoding beside what the GPU reads: scheduling, sampling, launching.
STEP_SECONDS = 0.0022
DAY_SECONDS = 86_400

# Start-up beside reading the weights, measured on 4 processors, as a replica has, nothing cached: 167 s with vLLM 0.20.2 and
# an H100, 118 s on 16 processors (bench/results/gpu-h100.md). Imports are those of two processes, one after the other.
IMPORT_SECONDS, PROFILE_SECONDS, COMPILE_SECONDS, GRAPH_SECONDS = 90, 22, 50, 5
COPY_BYTES_PER_SECOND = 10e9  # host to GPU, PCIe 4.0 x16 with headroom


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One question: `images` of `pixels` each, some text, an answer of `output_tokens`."""

    pixels: int
    output_tokens: int
    images: int = 1
    text_tokens: int = TEXT_TOKENS

    @property
    def prompt_tokens(self) -> int:
        return self.images * image_tokens(self.pixels) + self.text_tokens


@dataclass(frozen=True, slots=True)
class Latency:
    """Means at one rate. `running` is how many requests decode at the same time."""

    first_token_seconds: float
    token_seconds: float
    answer_seconds: float
    running: float


def prefill_seconds(serving: Serving, request: Request) -> float:
    """The GPU's work on one prompt: 2 operations a weight and token, and attention (causal in the layers, full in the tower)."""
    model, vision, gpu = serving.architecture, serving.architecture.vision, serving.gpu
    tokens, per_image = request.prompt_tokens, image_tokens(request.pixels)
    patches = PATCHES_PER_TOKEN * per_image
    layers = 2 * model.layer_parameters * tokens
    attention = 2 * tokens**2 * model.heads * model.head_width * model.layers
    tower = 2 * vision.block_parameters * patches + 4 * patches**2 * vision.width * vision.blocks
    mergers = 2 * vision.merger_parameters(model.width) * per_image
    sixteen = attention + request.images * (tower + mergers)
    return layers / gpu.reached_flops(eight_bit=serving.weights == "8-bit") + sixteen / gpu.reached_flops()


def prompt_seconds(serving: Serving, request: Request) -> float:
    """How long one prompt keeps the engine from decoding."""
    return request.images * IMAGE_SECONDS + prefill_seconds(serving, request)


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one step of decoding, by what they go to: the weights once, and for each request work and its KV cache."""

    read: float
    work: float
    cache: float

    def seconds(self, running: float) -> float:
        """One token for each of `running` requests: weights are read, or computed with if that is slower; the cache is read."""
        return STEP_SECONDS + max(self.read, self.work * running) + self.cache * running


def step(serving: Serving, context_tokens: float) -> Step:
    model, gpu = serving.architecture, serving.gpu
    layers = model.layer_parameters * serving.weight_bytes_per_layer_parameter
    return Step(
        read=(layers + 2 * model.head_parameters) / gpu.reached_bandwidth_bytes_per_second,
        work=2 * (model.layer_parameters + model.head_parameters) / gpu.reached_flops(),
        cache=context_tokens * serving.kv_bytes_per_token / gpu.reached_bandwidth_bytes_per_second,
    )


def latency(serving: Serving, request: Request, requests_per_second: float) -> Latency | None:
    """Means when requests come at random at this rate; None when the replica cannot keep up or its seats do not suffice.

    Prompts and decoding share the GPU: prompts take their part of every second, so a step takes 1 / (1 - part) as long; how
    many requests decode together follows from rate and duration (Little's law). A prompt waits for those before it (M/D/1) and
    for the step under way.
    """
    prefill = prompt_seconds(serving, request)
    left = 1 - requests_per_second * prefill
    decode = step(serving, request.prompt_tokens + request.output_tokens / 2)
    tokens_per_second = requests_per_second * request.output_tokens
    if left - tokens_per_second * decode.cache <= 0:
        return None
    # token = seconds(running) / left and running = tokens_per_second * token, solved for token; below one request there is one.
    token = max(decode.seconds(1) / left, (STEP_SECONDS + decode.read) / (left - tokens_per_second * decode.cache))
    running = tokens_per_second * token
    seats = serving.sequences(request.prompt_tokens + request.output_tokens)
    if not seats or running > seats or running * decode.work > decode.read:
        return None  # beyond that each further request makes all of them slower than it comes
    first = HOST_SECONDS + (1 - left) * prefill / (2 * left) + prefill + token
    return Latency(first, token, first + (request.output_tokens - 1) * token, tokens_per_second * token)


def highest_rate(serving: Serving, request: Request, answer_seconds: float = math.inf) -> float:
    """Requests per second at which the mean answer still takes `answer_seconds` at most; 0 if even an idle replica is slower."""
    low, high = 0.0, 1 / prompt_seconds(serving, request)
    for _ in range(40):
        middle = (low + high) / 2
        found = latency(serving, request, middle)
        low, high = (middle, high) if found and found.answer_seconds <= answer_seconds else (low, middle)
    return low


def replicas(requests_per_second: float, rate_per_replica: float) -> int:
    """Replicas for a rate, without a spare. Raises ZeroDivisionError if one replica cannot serve any."""
    return max(1, math.ceil(requests_per_second / rate_per_replica - 1e-9))


def read_bytes(serving: Serving) -> int:
    return serving.weight_bytes(serving.weights_on_disk)


def startup_seconds(serving: Serving, read_bytes_per_second: float) -> float:
    """From the container's start to its first answer, nothing cached."""
    reading = read_bytes(serving) / read_bytes_per_second + serving.memory.weight_bytes / COPY_BYTES_PER_SECOND
    return IMPORT_SECONDS + reading + PROFILE_SECONDS + COMPILE_SECONDS + GRAPH_SECONDS


def longest_answer_seconds(serving: Serving, output_tokens: int) -> float:
    """An answer of `output_tokens` to one image of the largest size, on a replica at 70 % of what it can do."""
    request = Request(pixels=serving.max_image_pixels, output_tokens=output_tokens)
    found = latency(serving, request, 0.7 * highest_rate(serving, request))
    return found.answer_seconds if found else math.inf
