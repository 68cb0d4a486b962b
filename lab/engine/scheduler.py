"""Who runs, who waits, and when the next token is due: the shape of vLLM's scheduling, not its work.

As in vLLM, images are read before a request is counted at all (one thread, a real decode here), so a backlog of images
does not show in `num_requests_waiting`: a scaling signal has to cope with that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gpu import BusyTime
from latency import Card
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

FIRST_TOKEN_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    *(160.0, 640.0, 2560.0),
)
LATENCY_BUCKETS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0),
    *(1920.0, 7680.0),
)
TOKEN_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)


class EngineMetrics:
    """The metric names of vLLM that dashboards and scaling use, with its labels and buckets."""

    def __init__(self, model_name: str) -> None:
        self.registry = CollectorRegistry()
        labels = ["model_name", "engine"]
        values = (model_name, "0")

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, labels, registry=self.registry).labels(*values)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry).labels(*values)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=self.registry).labels(*values)

        self.running = gauge("vllm:num_requests_running", "Number of requests in model execution batches.")
        self.waiting = gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.")
        self.kv_cache = gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        self.prompt_tokens = counter("vllm:prompt_tokens", "Number of prefill tokens processed.")
        self.generation_tokens = counter("vllm:generation_tokens", "Number of generation tokens processed.")
        self.preemptions = counter("vllm:num_preemptions", "Cumulative number of preemption from the engine.")
        self.first_token = histogram("vllm:time_to_first_token_seconds", "Time to first token.", FIRST_TOKEN_BUCKETS)
        self.inter_token = histogram("vllm:inter_token_latency_seconds", "Time between tokens.", TOKEN_BUCKETS)
        self.latency = histogram("vllm:e2e_request_latency_seconds", "End to end latency.", LATENCY_BUCKETS)
        self.queue_time = histogram("vllm:request_queue_time_seconds", "Time spent WAITING.", LATENCY_BUCKETS)
        self._success = Counter(
            "vllm:request_success", "Successful requests.", [*labels, "finished_reason"], registry=self.registry
        )
        self._values = values

    def succeeded(self, reason: str) -> None:
        self._success.labels(*self._values, reason).inc()


class Scheduler:
    def __init__(self, card: Card, max_num_seqs: int, metrics: EngineMetrics) -> None:
        self._card = card
        self._metrics = metrics
        self._seats = asyncio.Semaphore(max_num_seqs)
        self._prefill = asyncio.Lock()
        self._running = 0
        self._tokens = 0
        self.busy = BusyTime()

    @property
    def running(self) -> int:
        return self._running

    @asynccontextmanager
    async def seat(self, tokens: int) -> AsyncIterator[None]:
        """A place among the running requests, with `tokens` of the KV cache; waits for one."""
        arrived = time.monotonic()
        self._metrics.waiting.inc()
        try:
            await self._seats.acquire()
        finally:
            self._metrics.waiting.dec()
        self._metrics.queue_time.observe(time.monotonic() - arrived)
        self._count(1, tokens)
        try:
            yield
        finally:
            self._count(-1, -tokens)
            self._seats.release()

    async def prefill(self, text_tokens: int, image_tokens: int) -> None:
        """The wait for the first token: one prompt after another, as the card's arithmetic is shared."""
        async with self._prefill:
            await asyncio.sleep(self._card.prefill(text_tokens, image_tokens))

    async def step(self, due: float) -> float:
        """Waits until the next token; `due` is the moment it was counted from, the new one is returned.

        Counting from the moment it was due, not from now, keeps the rate true when the timer is coarse.
        """
        due += self._card.step(self._running)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        return due

    def _count(self, requests: int, tokens: int) -> None:
        self._running += requests
        self._tokens += tokens
        self.busy.running(self._running, time.monotonic())
        self._metrics.running.set(self._running)
        self._metrics.kv_cache.set(min(1.0, self._tokens / self._card.kv_tokens))
