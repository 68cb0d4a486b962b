"""The engine under load, by vLLM's metrics. Pure."""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Watched
from components.observability.targets import ENGINES

ENGINE = f'job="{ENGINES.job}"'
POD = "{{ $labels.pod }}"


def groups(watched: Watched) -> list[Group]:
    """Nothing for an engine with other metrics."""
    return [Group(name="engine", rules=tuple(alerts(watched)))] if watched.vllm else []


def alerts(watched: Watched) -> list[Alert]:
    first_token = f"vllm:time_to_first_token_seconds_bucket{{{ENGINE}}}"
    first_token_seconds = watched.objective.first_token_seconds
    return [
        Alert(
            name="EngineQueueBacklog",
            severity="warning",
            expr=f"min_over_time(vllm:num_requests_waiting{{{ENGINE}}}[10m]) > 0",
            for_seconds=300,
            summary=f"Requests wait for the engine of {POD} all the time",
            description=f"The queue of {POD} has not been empty once in 15 minutes: more arrives than the GPU does. Look at"
            " what the autoscaler wants, and whether all replicas have their share.",
        ),
        Alert(
            name="EngineCacheFull",
            severity="warning",
            expr=f"min_over_time(vllm:kv_cache_usage_perc{{{ENGINE}}}[5m]) > 0.95",
            for_seconds=300,
            summary=f"The KV cache of {POD} is full",
            description=f"The engine of {POD} puts running requests aside and computes them again. Fewer at a time"
            " (inference.maxNumSeqs), shorter prompts (inference.maxModelLen) or more replicas.",
        ),
        Alert(
            name="FirstTokenSlow",
            severity="warning",
            expr=f"histogram_quantile(0.9, sum by (le) (rate({first_token}[10m]))) > {first_token_seconds:g}",
            for_seconds=600,
            summary="One answer in ten begins after {{ $value | humanizeDuration }}",
            description=f"The objective is {first_token_seconds:g} s (observability.objective.firstTokenSeconds). Look at the"
            " queue of the engines, at the size of the images and at the GPUs' clocks.",
        ),
    ]
