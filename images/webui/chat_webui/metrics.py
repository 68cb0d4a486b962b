"""What this replica counts. Prometheus reads it at `/metrics`, from inside the cluster only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)


class Metrics:
    """`in_flight` (answers being written plus `/v1` requests) is the load signal: unlike the engine's own gauge of waiting
    requests it also counts those whose images are still being read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = self.registry
        self.in_flight = Gauge("webui_requests_in_flight", "Requests being answered", ["kind"], registry=own)
        self.http = Counter("webui_http_requests", "HTTP requests", ["route", "method", "code"], registry=own)
        self.http_seconds = Histogram(
            "webui_http_request_duration_seconds", "From request to last byte", ["route"], buckets=SECONDS, registry=own
        )
        self.chats = Counter("webui_chat_answers", "Answers of the chat page", ["outcome"], registry=own)
        self.chat_seconds = Histogram(
            "webui_chat_answer_duration_seconds", "One chat answer", buckets=SECONDS, registry=own
        )
        self.first_token_seconds = Histogram(
            "webui_chat_time_to_first_token_seconds", "From question to first word", buckets=SECONDS, registry=own
        )
        self.tokens = Counter(
            "webui_chat_tokens", "Tokens of chat answers, as the engine counted", ["kind"], registry=own
        )
        self.history_errors = Counter("webui_history_errors", "Accesses to Redis that failed", registry=own)
        self.up = Gauge(
            "webui_dependency_up", "1 while the dependency counts as answering", ["dependency"], registry=own
        )
        self.ready = Gauge("webui_ready", "1 while /ready says so", registry=own)
        self.proxy_refused = Counter(
            "webui_api_requests_refused", "/v1 requests over the limit in flight", registry=own
        )
        self.api_requests = Counter(
            "webui_api_key_requests", "/v1 requests by the name of their key", ["key", "code"], registry=own
        )
        self.api_in_flight = Gauge(
            "webui_api_key_requests_in_flight", "/v1 requests being answered", ["key"], registry=own
        )
        self.logins = Counter("webui_logins", "Log-ins, log-outs and refused attempts", ["outcome"], registry=own)
