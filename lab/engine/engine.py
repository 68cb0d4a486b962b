"""A stand-in for vLLM in the lab: OpenAI API, vLLM's flags and metric names, the timing of a card, no model.

`python engine.py --model /models/Qwen3-VL-4B-Instruct --served-model-name Qwen/Qwen3-VL-4B-Instruct --port 8000 ...`
Flags of vLLM that mean nothing here are logged and ignored, so a Deployment can pass the same command to either.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from answers import FILLER, BadRequest, Seen, answer, see, tokens_of
from checkpoint import NoModel, load
from faults import BadFaults, Faults
from gpu import BusyTime, devices, tell
from options import Options, parse_options
from prometheus_client import disable_created_metrics, generate_latest
from replies import Reply, error_reply
from scheduler import EngineMetrics, Scheduler
from spans import Spans

log = logging.getLogger("engine")

BODY_LIMIT = 64 * 1024 * 1024
BODIES = 8
"""Bodies read at the same time: the others wait in their sockets, so a backlog of images does not fill the memory."""


class Engine:
    def __init__(self, options: Options, faults: Faults) -> None:
        self._options = options
        self._faults = faults
        self._metrics = EngineMetrics(options.names[0])
        self._scheduler = Scheduler(options.card, options.max_num_seqs, self._metrics)
        self._image_reader = ThreadPoolExecutor(1, "image-reader")  # vLLM's default is one thread too
        self._bodies = asyncio.Semaphore(BODIES)
        self._spans = Spans(options.otlp_traces_endpoint)
        self._created = int(time.time())
        self.in_flight = 0

    @property
    def busy(self) -> BusyTime:
        return self._scheduler.busy

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/metrics", self.metrics),
                web.get("/v1/models", self.models),
                web.post("/v1/chat/completions", self.chat),
                web.get("/lab/faults", self.show_faults),
                web.post("/lab/faults", self.set_faults),
            ]
        )
        return app

    async def health(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self._faults.health_delay)
        return web.Response(status=503 if self._faults.unhealthy else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._metrics.registry), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    async def models(self, _: web.Request) -> web.Response:
        known = {"object": "model", "created": self._created, "owned_by": "lab-stand-in", "root": self._options.root}
        data = [{"id": name, **known, "max_model_len": self._options.max_model_len} for name in self._options.names]
        return web.json_response({"object": "list", "data": data})

    async def show_faults(self, request: web.Request) -> web.Response:
        _loopback_only(request)
        return web.json_response(self._faults.shown())

    async def set_faults(self, request: web.Request) -> web.Response:
        _loopback_only(request)
        try:
            self._faults = Faults.read(await request.text())
        except BadFaults as error:
            return error_reply(400, str(error))
        log.warning("faults: %s", self._faults.shown())
        return web.json_response(self._faults.shown())

    async def chat(self, request: web.Request) -> web.StreamResponse:
        arrived = time.monotonic()
        self.in_flight += 1
        try:
            if self._faults.hang:
                await asyncio.Event().wait()
            if self._faults.fails():
                return error_reply(500, "fault asked for by /lab/faults", "InternalServerError")
            async with self._bodies:
                body = json.loads(await request.read())
                if not isinstance(body, dict):
                    raise BadRequest("the body must be a JSON object")
                if body.get("model") not in (None, *self._options.names):
                    return error_reply(404, f"The model `{body['model']}` does not exist.", "NotFoundError")
                loop = asyncio.get_running_loop()
                messages = body.pop("messages", None)
                seen = await loop.run_in_executor(self._image_reader, see, messages, self._options.images)
                del messages
            return await self._complete(request, body, seen, arrived)
        except (BadRequest, ValueError, TypeError, RecursionError, OverflowError) as error:  # as FastAPI and pydantic
            return error_reply(400, str(error))
        finally:
            self.in_flight -= 1

    async def _complete(
        self, request: web.Request, body: dict[str, Any], seen: Seen, arrived: float
    ) -> web.StreamResponse:
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or self._options.max_model_len
        limit = min(int(limit), self._options.max_output_tokens)
        room = self._options.max_model_len - seen.prompt_tokens
        if int(limit) < 1 or room < 1 or (body.get("max_tokens") and int(limit) > room):
            raise BadRequest(
                f"This model's maximum context length is {self._options.max_model_len} tokens. However, you requested "
                f"{seen.prompt_tokens} tokens in the messages and {limit} in the completion."
            )
        words = tokens_of(answer(seen))
        least = min(int(limit), room) if body.get("ignore_eos") else int(body.get("min_tokens") or 0)
        filler = tokens_of(" " + FILLER)
        words += [filler[at % len(filler)] for at in range(max(0, least - len(words)))]
        reason = "stop" if len(words) <= min(int(limit), room) else "length"
        words = words[: min(int(limit), room)]
        self._metrics.prompt_tokens.inc(seen.prompt_tokens)
        usage = {
            "prompt_tokens": seen.prompt_tokens,
            "completion_tokens": len(words),
            "total_tokens": seen.prompt_tokens + len(words),
        }
        async with self._scheduler.seat(seen.prompt_tokens + len(words)):
            tokens = self._tokens(seen, words, arrived)
            reply = Reply(self._options.names[0] if body.get("model") is None else body["model"])
            if body.get("stream"):
                counted = usage if (body.get("stream_options") or {}).get("include_usage") else None
                response: web.StreamResponse = await self._stream(request, reply, tokens, reason, counted)
            else:
                response = web.json_response(reply.whole("".join([word async for word in tokens]), reason, usage))
        seconds = time.monotonic() - arrived
        self._metrics.latency.observe(seconds)
        self._spans.tell(request.headers.get("traceparent", ""), time.time() - seconds, usage)
        self._metrics.succeeded(reason)
        return response

    async def _tokens(self, seen: Seen, words: list[str], arrived: float) -> AsyncIterator[str]:
        await asyncio.sleep(self._faults.first_token_delay)
        await self._scheduler.prefill(seen.text_tokens, seen.image_tokens)
        due = time.monotonic()
        for number, word in enumerate(words):
            last = due
            if self._faults.token_delay:
                await asyncio.sleep(self._faults.token_delay)
                due = time.monotonic()
            due = await self._scheduler.step(due)
            if number == 0:
                self._metrics.first_token.observe(time.monotonic() - arrived)
            else:
                self._metrics.inter_token.observe(due - last)
            self._metrics.generation_tokens.inc()
            yield word

    async def _stream(
        self,
        request: web.Request,
        reply: Reply,
        tokens: AsyncIterator[str],
        reason: str,
        usage: dict[str, int] | None,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)

        async def send(event: dict[str, Any]) -> None:
            await response.write(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n")

        await send(reply.part({"role": "assistant", "content": ""}))
        sent = 0
        async for word in tokens:
            await send(reply.part({"content": word}))
            sent += 1
            if sent == self._faults.drop_after_tokens and request.transport is not None:
                request.transport.abort()
                return response
        await send(reply.part({}, reason))
        if usage is not None:
            await send(reply.usage(usage))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def _loopback_only(request: web.Request) -> None:
    if not ipaddress.ip_address(request.remote or "0.0.0.0").is_loopback:
        raise web.HTTPNotFound


@asynccontextmanager
async def served(engine: Engine, host: str, port: int, shutdown_timeout: float) -> AsyncIterator[None]:
    """Listens; at the end takes no new connection, lets requests in flight finish, then closes."""
    runner = web.AppRunner(
        engine.application(),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        shutdown_timeout=shutdown_timeout,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    try:
        yield
    finally:
        await runner.cleanup()


async def run(options: Options) -> None:
    engine = Engine(options, Faults.read(os.environ.get("LAB_ENGINE_FAULTS", "")))
    end = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, end.set)
    async with served(engine, options.host, options.port, options.shutdown_timeout):
        log.info("serving %s on port %d (lab stand-in)", ", ".join(options.names), options.port)
        gpus = devices()
        telling = asyncio.create_task(tell(engine.busy, gpus)) if gpus else None
        await end.wait()
        log.info("draining %d request(s)", engine.in_flight)
    if telling:
        telling.cancel()


def main() -> int:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stdout,
        format='{"time":"%(asctime)s","level":"%(levelname)s","message":"%(message)s"}',
    )
    try:
        options, ignored = parse_options(sys.argv[1:])
    except (ValueError, TypeError) as error:
        print(f"a flag cannot be read ({error}). Correct --limit-mm-per-prompt", file=sys.stderr)
        return 2
    if options.card.kv_tokens < options.max_model_len:
        print(
            f"--max-model-len: {options.max_model_len} tokens; the KV cache holds {options.card.kv_tokens} with "
            f"--gpu-memory-utilization {options.card.gpu_memory_utilization}. Lower the first or raise the second",
            file=sys.stderr,
        )
        return 2
    try:
        log.info("%s: %d MiB of weights", options.root, load(options.root) >> 20)
    except NoModel as error:
        print(error, file=sys.stderr)
        return 1
    if ignored:
        log.info("flags without a meaning here: %s", " ".join(ignored))
    disable_created_metrics()  # type: ignore[no-untyped-call]
    asyncio.run(run(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
