"""Spans of what this replica does for a request: times, counts and kinds of errors, never what was asked or answered.

Whether a request is followed says the `traceparent` that the gateway sends. Without a collector spans are dropped: the queue
is bounded, sending is a thread's business, and no request waits for it.
"""

from __future__ import annotations

import logging
import socket
import threading
import urllib.request
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

log = logging.getLogger(__name__)

SEND_WITHIN = 2.0
QUEUE, BATCH, EVERY_MS = 2048, 256, 1000
CARRIED = frozenset(("traceparent", "tracestate"))
FOLLOWED = ("/v1/", "/gradio_api/queue/join")
"""Paths whose requests are followed: the API, and what a page asks for."""

_W3C = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("chat_webui")  # makes spans that are nothing until `follow` was called


class Otlp(SpanExporter):
    """OTLP over HTTP. Says once that it does not get through, and once that it does again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        self._away = False
        self._ended = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._ended.is_set() and self._away:
            return SpanExportResult.FAILURE  # the end of the process waits for nobody
        body = encode_spans(spans).SerializeToString()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/x-protobuf"})  # noqa: S310
        try:
            self._open(request, timeout=SEND_WITHIN).close()
        except (OSError, ValueError) as error:
            if not self._away:
                log.warning(
                    "the traces' collector does not answer, spans are dropped", extra={"why": type(error).__name__}
                )
            self._away = True
            return SpanExportResult.FAILURE
        if self._away:
            log.info("the traces' collector answers again")
        self._away = False
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._ended.set()


class Following:
    """What `follow` started; `end` sends what is left."""

    def __init__(self, url: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a full queue is told of by `Otlp`, once
        resource = Resource({"service.name": "webui", "service.instance.id": socket.gethostname()})
        self._exporter = Otlp(url)
        self._provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter, max_queue_size=QUEUE, max_export_batch_size=BATCH, schedule_delay_millis=EVERY_MS
            )
        )

    def end(self) -> None:
        self._exporter.shutdown()
        self._provider.shutdown()

    def begin(self) -> None:
        trace.set_tracer_provider(self._provider)


def follow(url: str) -> Following:
    """Spans of this process go to that address from now on."""
    following = Following(url)
    following.begin()
    return following


@contextmanager
def serving(scope: MutableMapping[str, Any], route: str) -> Iterator[Span]:
    """The span of a request, below the gateway's. Of what comes later and elsewhere for it, see `continued`."""
    if not scope["path"].startswith(FOLLOWED):
        yield trace.INVALID_SPAN
        return
    said = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    above = _W3C.extract({name: value for name, value in said.items() if name in CARRIED})
    about = {"http.request.method": scope["method"], "http.route": route}
    with span(f"{scope['method']} {route}", SpanKind.SERVER, above, **about) as served:
        scope["trace"] = trace.set_span_in_context(served)
        yield served


@contextmanager
def continued(scope: MutableMapping[str, Any]) -> Iterator[None]:
    """Gradio runs events in tasks of its own: what is done inside belongs to the request of `scope` again."""
    token = context.attach(scope.get("trace") or context.Context())
    try:
        yield
    finally:
        context.detach(token)


@contextmanager
def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, above: context.Context | None = None, **about: str
) -> Iterator[Span]:
    """A part of the work. Of an error its kind is kept: a message may quote what a user sent."""
    with _TRACER.start_as_current_span(
        name, above, kind, attributes=about, record_exception=False, set_status_on_exception=False
    ) as part:
        try:
            yield part
        except Exception as error:
            failed(part, type(error).__name__)
            raise


def asking(model: str = "") -> Span:
    """A call of the engine, for a generator, which may be left from another task: not the current span, and ended by its user."""
    about = {"gen_ai.request.model": model} if model else {}
    return _TRACER.start_span("engine", kind=SpanKind.CLIENT, attributes=about)


def carried(part: Span) -> dict[str, str]:
    """Headers by which the engine's own spans are put below `part`."""
    headers: dict[str, str] = {}
    _W3C.inject(headers, trace.set_span_in_context(part))
    return headers


def failed(part: Span, why: str) -> None:
    part.set_status(StatusCode.ERROR, why)


def failed_here(why: str) -> None:
    failed(trace.get_current_span(), why)


def example() -> dict[str, str] | None:
    """The current trace, for a metric to name as one of many; only one that somebody can look at."""
    known = trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(known.trace_id)} if known.is_valid and known.trace_flags.sampled else None


def ids() -> dict[str, str]:
    """The current trace and span as the gateway's access log names them, in a log line's words; nothing outside of a trace."""
    known = trace.get_current_span().get_span_context()
    if not known.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(known.trace_id), "span_id": trace.format_span_id(known.span_id)}
