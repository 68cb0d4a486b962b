"""Starts the product's engine on this machine's GPU with random weights of the real shape, and measures what the page computes.

    python -m bench.gpu OUT --dtype bfloat16

writes OUT/Qwen3-VL-4B-Instruct-bfloat16.json and .log. Needs the engine (`vllm serve`), nvidia-smi, and leave to write to
/models, where the product's command line looks for the model. Each part is kept when it is measured, so that a run that is
ended leaves what it had.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import signal
import statistics
import string
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.gpu import checkpoint
from bench.gpu.asking import Answer, ask_all, step_seconds
from bench.gpu.engine import LAUNCH, URL, card, counters, read_log, running
from bench.load.questions import NUMBERS, Questions, Shape
from components.capacity.document import SIZES
from components.capacity.serving import Serving
from components.capacity.timing import Request, highest_rate
from components.inference.model import model_path
from components.settings import Inference

IDLE_QUESTIONS, IDLE_TOKENS = 8, 64
PROMPTS, PROMPTS_TOGETHER, PROMPT_CHARACTERS = 64, 16, 3000
TOGETHER, DECODED_CHARACTERS, DECODED_TOKENS = (1, 8, 16, 32, 64), 250, 512
SHARES = "0.2,0.4,0.7,1,1.5"  # up to more than the page says can be done
PARTS = ("questions", "load")
HEADLINE_TOKENS = 128
KILOBYTES = 300
LARGER_THAN_ALLOWED = (2048, 1536)  # twice `inference.maxImagePixels` and more: to be scaled down
# Means of vLLM's histograms, in seconds.
MEANS = (
    *("time_to_first_token", "e2e_request_latency", "inter_token_latency", "request_time_per_output_token"),
    *("request_queue_time", "request_prefill_time"),
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    say = parser.add_argument
    say("out", type=Path, help="folder of the results")
    say("--model", default="Qwen/Qwen3-VL-4B-Instruct", help="shape (default: %(default)s)")
    say("--gpu-type", default="h100-80gb", help="card of components/capacity/gpus.py (default: %(default)s)")
    say("--dtype", choices=["bfloat16", "float16", "fp8"], default="bfloat16", help="default: %(default)s")
    say("--launch", default=LAUNCH, help="the engine's program, before the product's flags (default: %(default)s)")
    say("--seconds", type=float, default=12, help="of each rate of the open loop (default: %(default)g)")
    say("--shares", default=SHARES, help="rates, as shares of the computed highest one (default: %(default)s)")
    say("--parts", default=",".join(PARTS), help="what is measured after the start (default: %(default)s)")
    say("--then", default="", help="a command to run at the end, while the engine still runs")
    say("--name", default="", help="of the result's files (default: model and number format)")
    say("--extra", action="append", default=[], help="a further flag of the engine")
    return parser.parse_args(arguments)


class Run:
    """One engine from its start on; `found` is what was measured so far."""

    def __init__(self, inference: Inference, file: Path) -> None:
        self.inference, self.file = inference, file
        self.found: dict[str, Any] = {"inference": inference.model_dump(mode="json", exclude_unset=True)}

    def keep(self, part: str, what: Callable[[], Any]) -> None:
        """Measures a part; one that fails is kept as its error, so that the others are measured all the same."""
        began = time.monotonic()
        try:
            self.found[part] = what()
        except (OSError, ValueError, TimeoutError, subprocess.SubprocessError) as error:
            self.found[part] = {"error": f"{type(error).__name__}: {error}"}
        self.file.write_text(json.dumps(self.found, indent=1))
        print(f"{part}: {time.monotonic() - began:.1f} s {json.dumps(self.found[part])[:600]}", flush=True)

    def bodies(self, count: int, size: tuple[int, int], tokens: int) -> list[bytes]:
        """Chats with an image each that nothing has seen before."""
        shape = Shape(
            model=self.inference.model,
            stream=True,
            max_tokens=tokens,
            exact=True,
            kilobytes=KILOBYTES,
            width=size[0],
            height=size[1],
        )
        questions = Questions(shape, random.randrange(NUMBERS))  # noqa: S311
        return [questions.body(number) for number in range(count)]

    def texts(self, count: int, characters: int, tokens: int) -> list[bytes]:
        """Chats without an image; the checkpoint's tokenizer makes a token of each character."""
        said = {"model": self.inference.model, "max_tokens": tokens, "stream": True}
        options = {"stream_options": {"include_usage": True}, "ignore_eos": True}
        letters = string.ascii_lowercase
        return [
            json.dumps(
                said
                | options
                | {"messages": [{"role": "user", "content": "".join(random.choices(letters, k=characters))}]}  # noqa: S311
            ).encode()
            for _ in range(count)
        ]

    def idle(self, size: tuple[int, int]) -> dict[str, float]:
        """One question at a time."""
        bodies = self.bodies(IDLE_QUESTIONS, size, IDLE_TOKENS)
        before = counters()
        answers = asyncio.run(ask_all(bodies, 1))
        return summary(answers) | means(before, counters())

    def prompts(self, bodies: list[bytes]) -> dict[str, float]:
        """Prompts as fast as they are taken, one token each: seconds of a prompt when there are always more."""
        before, began = counters(), time.monotonic()
        answers = asyncio.run(ask_all(bodies, PROMPTS_TOGETHER))
        seconds = (time.monotonic() - began) / len(answers)
        return {"prompt_seconds": seconds, "prompt_tokens": answers[0].prompt_tokens} | means(before, counters())

    def decode(self, together: int) -> dict[str, float]:
        answers = asyncio.run(ask_all(self.texts(together, DECODED_CHARACTERS, DECODED_TOKENS), together))
        return {"step_seconds": step_seconds(answers), "prompt_tokens": answers[0].prompt_tokens}

    def load(self, rate: float, size: tuple[int, int], seconds: float) -> dict[str, Any]:
        """bench.load beside the engine's own means, and the card in the middle of it."""
        argv = [*("-m", "bench.load", URL, "--model", self.inference.model, "--exact", "--stream", "--json")]
        argv += [*("--rate", f"{rate:g}", "--seconds", f"{seconds:g}", "--max-tokens", str(HEADLINE_TOKENS))]
        argv += [*("--pixels", f"{size[0]}x{size[1]}", "--kilobytes", str(KILOBYTES), "--timeout", "60")]
        before = counters()
        process = subprocess.Popen([sys.executable, *argv], stdout=subprocess.PIPE, text=True)
        time.sleep(2 + seconds / 2)  # the generator's start, then half of the load
        meanwhile = card()
        output, _ = process.communicate(timeout=seconds + 120)
        return {"generator": json.loads(output), "card": meanwhile} | means(before, counters())


def summary(answers: list[Answer]) -> dict[str, float]:
    """Medians; seconds."""
    gaps = [(answer.events[-1] - answer.events[0]) / max(1, answer.tokens - 1) for answer in answers]
    return {
        "first_token_seconds": statistics.median(answer.first_token for answer in answers),
        "step_seconds": statistics.median(gaps),
        "answer_seconds": statistics.median(answer.events[-1] - answer.sent for answer in answers),
        "prompt_tokens": answers[0].prompt_tokens,
    }


def means(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """vLLM's own means between two looks at its histograms."""
    found = {}
    for name in MEANS:
        total, count = (
            after.get(f"vllm:{name}_seconds_{part}", 0.0) - before.get(f"vllm:{name}_seconds_{part}", 0.0)
            for part in ("sum", "count")
        )
        if count:
            found[f"engine_{name}_seconds"] = total / count
    return found


def ask_questions(run: Run) -> None:
    """The parts of the arithmetic one by one."""
    run.keep("shrunk", lambda: summary(asyncio.run(ask_all(run.bodies(1, LARGER_THAN_ALLOWED, 4), 1))))
    for size in SIZES:
        run.keep(f"idle {shown(size)}", partial(run.idle, size))
    for together in TOGETHER:
        run.keep(f"decode {together}", partial(run.decode, together))
    run.keep("prompts text", lambda: run.prompts(run.texts(PROMPTS, PROMPT_CHARACTERS, 1)))
    for size in SIZES:
        run.keep(f"prompts {shown(size)}", partial(run.prompts, run.bodies(PROMPTS, size, 1)))


def put_load(run: Run, serving: Serving, shares: list[float], seconds: float) -> None:
    """The capacity page's headline request, open loop."""
    size = SIZES[0]
    most = highest_rate(serving, Request(pixels=size[0] * size[1], output_tokens=HEADLINE_TOKENS))
    for share in shares:
        rate = round(share * most, 1)
        run.keep(f"load {shown(size)} {rate:g}/s", partial(run.load, rate, size, seconds))
    run.keep("card_at_end", card)


def shown(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def main() -> None:
    said = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended from outside"))  # the engine is ended too
    inference = Inference(
        model=said.model, gpu_type=said.gpu_type, dtype=said.dtype, extra_args=("--load-format=dummy", *said.extra)
    )
    if inference.shape is None or inference.serving is None:
        raise SystemExit(f"bench: --model: {said.model}; its name must begin with one of the shapes. Name one of them")
    said.out.mkdir(parents=True, exist_ok=True)
    name = said.name or f"{said.model.rsplit('/', 1)[-1]}-{said.dtype}"
    checkpoint.write(Path(model_path(said.model)), inference.shape)
    run, log = Run(inference, said.out / f"{name}.json"), said.out / f"{name}.log"
    with running(inference, log, said.launch) as start_seconds:
        run.found["start_seconds"] = start_seconds
        run.keep("log", lambda: read_log(log.read_text()))
        run.keep("card_at_start", card)
        run.keep("first_questions", lambda: summary(asyncio.run(ask_all(run.bodies(8, SIZES[0], 16), 4))))
        if "questions" in said.parts:
            ask_questions(run)
        if "load" in said.parts:
            put_load(run, inference.serving, [float(share) for share in said.shares.split(",")], said.seconds)
        if said.then:
            subprocess.run(shlex.split(said.then), check=True)


if __name__ == "__main__":
    main()
