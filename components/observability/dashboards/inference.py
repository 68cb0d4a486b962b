"""The model at work: what is asked, how long each phase takes, and how full the engines are. Pure."""

from __future__ import annotations

from components.observability.alerts.service import WEBUI
from components.observability.dashboards.model import RED, YELLOW, Dashboard, Panel, Query, Row
from components.observability.dashboards.parts import Parts
from components.observability.dashboards.queries import WINDOW, quantiles
from components.observability.targets import ENGINES

ENGINE = f'job="{ENGINES.job}"'
API = f'{WEBUI},route=~"/v1/.*"'


def dashboard(parts: Parts) -> Dashboard:
    engines = (
        (Row(title="Engines", panels=load()), Row(title="Phases of an answer", panels=phases())) if parts.vllm else ()
    )
    return Dashboard(
        uid="qwen3-vl-inference",
        title="Inference",
        description="What users ask of the model, how long each phase takes, and how full the engines are.",
        rows=(
            Row(title="Requests", panels=requests()),
            *engines,
            Row(title="Around the engine", panels=web_ui()),
        ),
    )


def requests() -> tuple[Panel, ...]:
    return (
        Panel(
            title="/v1 by outcome",
            description="Requests of the API by the code of their answer, a second.",
            unit="reqps",
            least=0,
            stacked=True,
            queries=(
                Query(expr=f"sum by (code) (rate(webui_http_requests_total{{{API}}}[{WINDOW}]))", legend="{{code}}"),
            ),
        ),
        Panel(
            title="Answers of the page by outcome",
            description="done, stopped by the user, or failed; a second.",
            unit="reqps",
            least=0,
            stacked=True,
            queries=(
                Query(
                    expr=f"sum by (outcome) (rate(webui_chat_answers_total{{{WEBUI}}}[{WINDOW}]))", legend="{{outcome}}"
                ),
            ),
        ),
        Panel(
            title="By API key",
            description="Requests of /v1 by the name of their key, a second.",
            unit="reqps",
            least=0,
            stacked=True,
            queries=(
                Query(expr=f"sum by (key) (rate(webui_api_key_requests_total{{{WEBUI}}}[{WINDOW}]))", legend="{{key}}"),
            ),
        ),
        Panel(
            title="Requests in flight by replica",
            description="Of page and API together. Far apart: the gateway does not spread them, or one engine is slow.",
            unit="short",
            least=0,
            queries=(Query(expr=f"sum by (pod) (webui_requests_in_flight{{{WEBUI}}})", legend="{{pod}}"),),
        ),
        Panel(
            title="Refused because full",
            description="429 of /v1: more in flight than a replica takes. More replicas, or clients that ask less at a time.",
            unit="reqps",
            least=0,
            thresholds=((0.1, RED),),
            queries=(
                Query(
                    expr=f"sum by (pod) (rate(webui_api_requests_refused_total{{{WEBUI}}}[{WINDOW}]))", legend="{{pod}}"
                ),
            ),
        ),
        Panel(
            title="How long requests of /v1 take",
            description="From request to last byte, as the web UI counts it.",
            unit="s",
            least=0,
            queries=quantiles("webui_http_request_duration_seconds", f'{WEBUI},route=~"/v1/(chat/)?completions"'),
        ),
    )


def load() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Running and waiting",
            description="Requests being computed, and those that wait for room. A queue that never empties: more replicas.",
            unit="short",
            least=0,
            queries=(
                Query(expr=f"sum by (pod) (vllm:num_requests_running{{{ENGINE}}})", legend="running {{pod}}"),
                Query(expr=f"sum by (pod) (vllm:num_requests_waiting{{{ENGINE}}})", legend="waiting {{pod}}"),
            ),
        ),
        Panel(
            title="KV cache used",
            description="Share of the room for running requests. Full: requests are put aside and computed again.",
            unit="percentunit",
            least=0,
            most=1,
            thresholds=((0.8, YELLOW), (0.95, RED)),
            queries=(Query(expr=f"max by (pod) (vllm:kv_cache_usage_perc{{{ENGINE}}})", legend="{{pod}}"),),
        ),
        Panel(
            title="Put aside and computed again",
            description="Preemptions a second: work that is done twice because the KV cache was full.",
            unit="ops",
            least=0,
            thresholds=((0.1, RED),),
            queries=(
                Query(expr=f"sum by (pod) (rate(vllm:num_preemptions_total{{{ENGINE}}}[{WINDOW}]))", legend="{{pod}}"),
            ),
        ),
        Panel(
            title="Tokens",
            description="Read (prompt, images among it) and written, a second, of all engines.",
            unit="short",
            least=0,
            queries=(
                Query(expr=f"sum(rate(vllm:prompt_tokens_total{{{ENGINE}}}[{WINDOW}]))", legend="read"),
                Query(expr=f"sum(rate(vllm:generation_tokens_total{{{ENGINE}}}[{WINDOW}]))", legend="written"),
            ),
        ),
        Panel(
            title="How answers end",
            description="stop: complete; length: cut off at maxTokens; abort: the client left. A second.",
            unit="reqps",
            least=0,
            stacked=True,
            queries=(
                Query(
                    expr=f"sum by (finished_reason) (rate(vllm:request_success_total{{{ENGINE}}}[{WINDOW}]))",
                    legend="{{finished_reason}}",
                ),
            ),
        ),
        Panel(
            title="Prepared images and prefixes found again",
            description="Share of look-ups that the engine's caches answered: images that it has prepared before, and beginnings"
            " of prompts that it has computed before.",
            unit="percentunit",
            least=0,
            most=1,
            empty="The engine counts none.",
            queries=(
                Query(expr=hits("vllm:mm_cache"), legend="images"),
                Query(expr=hits("vllm:prefix_cache"), legend="prefixes"),
            ),
        ),
    )


def hits(cache: str) -> str:
    return f"sum(rate({cache}_hits_total{{{ENGINE}}}[{WINDOW}])) / (sum(rate({cache}_queries_total{{{ENGINE}}}[{WINDOW}])) > 0)"


def phases() -> tuple[Panel, ...]:
    return tuple(
        Panel(title=title, description=description, unit="s", least=0, queries=quantiles(metric, ENGINE))
        for title, description, metric in (
            ("Waiting", "In the engine's queue, before anything is computed.", "vllm:request_queue_time_seconds"),
            ("First token", "Queue, images and prompt: until the first token.", "vllm:time_to_first_token_seconds"),
            ("Between two tokens", "How fast an answer is written.", "vllm:inter_token_latency_seconds"),
            ("Whole answer", "From a request's arrival in the engine to its end.", "vllm:e2e_request_latency_seconds"),
        )
    )


def web_ui() -> tuple[Panel, ...]:
    return (
        Panel(
            title="What replicas depend on",
            description="0 while a replica's engine or Redis does not answer.",
            unit="short",
            decimals=0,
            least=0,
            most=1,
            queries=(
                Query(
                    expr=f"min by (pod, dependency) (webui_dependency_up{{{WEBUI}}})",
                    legend="{{dependency}} of {{pod}}",
                ),
            ),
        ),
        Panel(
            title="Chats that could not be kept",
            description="Accesses to Redis that failed, a second. Answers still come; the page forgets them.",
            unit="ops",
            least=0,
            thresholds=((0.01, RED),),
            queries=(
                Query(expr=f"sum by (pod) (rate(webui_history_errors_total{{{WEBUI}}}[{WINDOW}]))", legend="{{pod}}"),
            ),
        ),
        Panel(
            title="Log-ins",
            description="in, out, and why attempts were refused; a second. Many refused ones: somebody tries passwords.",
            unit="ops",
            least=0,
            queries=(
                Query(
                    expr=f"sum by (outcome) (rate(webui_logins_total{{{WEBUI}}}[{WINDOW}]))",
                    legend="{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Memory of the web UI",
            description="Resident memory of each web UI process.",
            unit="bytes",
            least=0,
            queries=(Query(expr=f"process_resident_memory_bytes{{{WEBUI}}}", legend="{{pod}}"),),
        ),
    )
