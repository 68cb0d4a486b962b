"""Every alert fires when its cause lasts, with the labels its text names and none beside it, and clears; a near miss does not.

Prometheus' own promtool computes them on the series of a stack that is well, with one thing changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.observability.alerts import CLUSTER, PARTS, Watched, alerts, alerts_yaml
from components.observability.alerts.index import everything
from components.observability.alerts.rule import Alert
from components.observability.prometheus_config import rules_yaml
from tests.support import promtool
from tests.support.service_series import (
    A,
    B,
    Series,
    answers_of,
    api_away,
    certificate_end,
    chats,
    counter,
    engine,
    gateway,
    gauge,
    gpu,
    healthy,
    http,
    http_seconds,
    is_primary,
    member,
    offered,
    prometheus,
    text,
    up,
    vulnerabilities,
    waiting_since,
    webui,
)

pytestmark = pytest.mark.engine
WATCHED = replace(everything(), start_seconds=20 * 60, logs=False, traces=False)  # test_alerts_logs.py tries those
SHORT = replace(WATCHED, retention_hours=6)  # without the windows of days, which take long to compute
EVERY = 30
X, Y = "traefik-5d8f-x", "traefik-5d8f-y"
C = "qwen3-vl-webui-7c9d8bfb5c-ccccc"
REPLICA_A = {"namespace": "default", "pod": A}
GPU_1 = {"node": "gpu-1", "gpu": "0", "UUID": "GPU-gpu-1"}


@dataclass(frozen=True, slots=True)
class Firing:
    name: str
    severity: str
    labels: Mapping[str, str]


def firing(name: str, severity: str = "warning", /, **labels: str) -> Firing:
    return Firing(name, severity, labels)


@dataclass(frozen=True, slots=True)
class Case:
    """What changes in a stack that is well, and what fires how many minutes later. `near` is the alert that it nearly is."""

    what: str
    change: Series
    expected: Mapping[float, list[Firing]]
    near: str = ""


def never(*minutes: float) -> dict[float, list[Firing]]:
    return {minute: [] for minute in minutes}


NOBODY_READY = firing("NoReplicaReady", "critical")
NOT_READY = firing("ReplicaNotReady", job="qwen3-vl-webui", node="gpu-1", **REPLICA_A)
NO_GPU_SIGNAL = firing("ScalingMetricMissing", namespace="default", metric="gpu_utilization")


def burn(kind: str, severity: str, long: str, short: str) -> Firing:
    return firing(f"{kind}BudgetBurn", severity, long=long, short=short)


FAST_BURN = burn("Availability", "critical", "1h", "5m")
GONE_2 = firing("GpuMissing", node="gpu-2")


def down(name: str, job: str, pod: str, node: str, namespace: str = "default") -> Firing:
    return firing(name, job=job, pod=pod, node=node, namespace=namespace)


GATEWAY_X = down("GatewayDown", "traefik", X, "gpu-1", "traefik")
GATEWAY_Y = down("GatewayDown", "traefik", Y, "gpu-2", "traefik")
UP_X, UP_Y = up("traefik", X, "gpu-1", "traefik"), up("traefik", Y, "gpu-2", "traefik")
REFUSED, HISTORY = (webui(f"webui_{name}_total", A) for name in ("api_requests_refused", "history_errors"))
REDIS_A, REDIS_B = (webui("webui_dependency_up", pod, ',dependency="redis"') for pod in (A, B))
FAILED_X = gateway("traefik_entrypoint_requests_total", X, "503")
SLOW_X = gateway("traefik_entrypoint_request_duration_seconds_bucket", X, "200", ',le="1.2"')
FIRST_TOKENS = [
    engine("vllm:time_to_first_token_seconds_bucket", pod, f',le="{le}"') for pod in (A, B) for le in ("1.0", "2.5")
]
RULES = prometheus("prometheus_rule_evaluation_failures_total", ',rule_group="/etc/prometheus/alerts.yml;gpus"')
BLOCKS = prometheus("prometheus_tsdb_storage_blocks_bytes")
DAY = 24 * 3600  # the samples' clock begins at 0

CASES = [
    Case("nothing", {}, never(1, 10, 30, 60)),
    # targets
    Case(
        "a web UI that stops answering",
        {up("qwen3-vl-webui", A, "gpu-1"): gauge((10, 1), (20, 0), (0, 1))},
        {14: [], 16: [down("ReplicaDown", "qwen3-vl-webui", A, "gpu-1")], 31: []},
    ),
    Case(
        "a replica that never comes up, and is deleted",
        {up("qwen3-vl-webui", C, "gpu-1"): gauge((10, None), (40, 0), (0, None))},
        {34: [], 36: [down("ReplicaDown", "qwen3-vl-webui", C, "gpu-1")], 51: []},
    ),
    Case(
        "a replica that takes 15 minutes to start",
        {up("qwen3-vl-webui", C, "gpu-1"): gauge((10, None), (15, 0), (0, 1))},
        never(16, 24, 26, 40),
        near="ReplicaDown",
    ),
    Case(
        "an engine that stops answering",
        {up("qwen3-vl-engine", B, "gpu-2"): gauge((10, 1), (20, 0), (0, 1))},
        {14: [], 16: [down("EngineDown", "qwen3-vl-engine", B, "gpu-2")], 31: []},
    ),
    Case(
        "an engine that restarts within 4 minutes",
        {up("qwen3-vl-engine", B, "gpu-2"): gauge((10, 1), (4, 0), (0, 1))},
        never(12, 14, 16),
        near="EngineDown",
    ),
    Case("one gateway gone", {UP_X: gauge((10, 1), (10, 0), (0, 1))}, {14: [], 16: [GATEWAY_X], 21: []}, "NoGatewayUp"),
    Case(
        "one gateway away for 4 minutes",
        {UP_X: gauge((10, 1), (4, 0), (0, 1))},
        never(12, 14, 16),
        near="GatewayDown",
    ),
    Case(
        "both gateways gone",
        {UP_X: gauge((10, 1), (10, 0), (0, 1)), UP_Y: gauge((10, 1), (10, 0), (0, 1))},
        {
            10.5: [],
            11.5: [firing("NoGatewayUp", "critical")],
            16: [firing("NoGatewayUp", "critical"), GATEWAY_X, GATEWAY_Y],
            21: [],
        },
    ),
    Case(
        "a GPU exporter that stops answering",
        {up("dcgm-exporter", "dcgm-exporter-x", "gpu-1", "kube-system"): gauge((10, 1), (10, 0), (0, 1))},
        {14: [], 16: [down("GpuExporterDown", "dcgm-exporter", "dcgm-exporter-x", "gpu-1", "kube-system")], 21: []},
    ),
    Case(
        "a GPU exporter that is replaced",
        {up("dcgm-exporter", "dcgm-exporter-x", "gpu-1", "kube-system"): gauge((10, 1), (2, 0), (0, None))},
        never(11, 16, 30),
        near="GpuExporterDown",
    ),
    # replicas
    Case(
        "no replica ready",
        {webui("webui_ready", pod): gauge((10, 1), (4, 0), (0, 1)) for pod in (A, B)},
        {11.5: [], 12.5: [NOBODY_READY], 15: []},
    ),
    Case(
        "no replica that can be read",
        {webui("webui_ready", pod): gauge((10, 1), (4, None), (0, 1)) for pod in (A, B)},
        {11.5: [], 12.5: [NOBODY_READY], 15: []},
    ),
    Case(
        "one of two replicas not ready for half an hour",
        {webui("webui_ready", A): gauge((10, 1), (30, 0), (0, 1))},
        {19: [], 21: [NOT_READY], 29: [NOT_READY], 31: [NOT_READY, firing("ReplicasMissing")], 41: []},
        near="NoReplicaReady",
    ),
    Case(
        "one of two replicas not ready for 9 minutes",
        {webui("webui_ready", A): gauge((10, 1), (9, 0), (0, 1))},
        never(15, 18, 20),
        near="ReplicaNotReady",
    ),
    Case(
        "one of two replicas replaced within 19 minutes",
        {webui("webui_ready", A): gauge((10, 1), (19, None), (0, 1))},
        never(20, 28, 32),
        near="ReplicasMissing",
    ),
    # answers
    Case(
        "a replica that answers every eleventh request with 502",
        {http(A, "502"): counter((10, 0), (15, 60), (0, 0))},
        {13: [], 18: [firing("WebUiErrors", **REPLICA_A)], 32: []},
    ),
    Case(
        "3 % of a replica's answers are 502, and it says that it is not ready",
        {
            http(A, "502"): counter((10, 0), (30, 18), (0, 0)),
            http(A, "503", "/ready"): counter((10, 0), (30, 300), (0, 0)),
        },
        never(13, 18, 30, 50),
        near="WebUiErrors",
    ),
    Case(
        "a quarter of the chat answers fails",
        {chats(A, "failed"): counter((10, 0), (15, 4), (0, 0))},
        {14: [], 20: [firing("ChatAnswersFailing")], 36: []},
    ),
    Case(
        "one chat answer in 13 fails",
        {chats(A, "failed"): counter((10, 0), (30, 1), (0, 0))},
        never(14, 20, 30, 40),
        near="ChatAnswersFailing",
    ),
    Case(
        "a replica that is full",
        {REFUSED: counter((10, 0), (10, 6), (0, 0))},
        {14: [], 17: [firing("RequestsRefused", **REPLICA_A)], 24: []},
    ),
    Case(
        "a replica that was full for a minute",
        {REFUSED: counter((10, 0), (1, 60), (0, 0))},
        never(11, 14, 16),
        "RequestsRefused",
    ),
    Case(
        "Redis away",
        {REDIS_A: gauge((10, 1), (10, 0), (0, 1)), REDIS_B: gauge((10, 1), (10, 0), (0, 1))},
        {
            14: [],
            16: [firing("HistoryNotSaved", "critical", namespace="default", pod=pod) for pod in (A, B)],
            21: [],
        },
    ),
    Case(
        "one replica whose chats are not saved",
        {HISTORY: counter((10, 0), (10, 8), (0, 0))},
        {14: [], 17: [firing("HistoryNotSaved", "critical", **REPLICA_A)], 24: []},
    ),
    Case(
        "Redis moved to another node within 3 minutes",
        {REDIS_A: gauge((10, 1), (3, 0), (0, 1)), HISTORY: counter((10, 0), (1, 40), (0, 0))},
        never(11, 13, 15, 17),
        near="HistoryNotSaved",
    ),
    # sessions
    Case(
        "two members of Redis away, the primary among them",
        {
            **is_primary("redis-0", gauge((10, 1), (5, 0), (0, 1))),
            **answers_of("redis-0", "L7OK", gauge((10, 1), (5, 0), (0, 1))),
            **answers_of("redis-1", "L7RSP", gauge((10, 1), (5, 0), (0, 1))),
        },
        {10.5: [], 11.5: [firing("RedisWithoutPrimary", "critical")], 16: []},
        near="RedisMemberAway",
    ),
    Case(
        "a fail-over that one proxy sees half a minute later",
        {
            member("haproxy_server_status", "redis-proxy-x", "redis-0", "UP"): gauge((10, 1), (0, 0)),
            member("haproxy_server_status", "redis-proxy-y", "redis-0", "UP"): gauge((10.5, 1), (0, 0)),
            member("haproxy_server_status", "redis-proxy-x", "redis-1", "UP"): gauge((10.5, 0), (0, 1)),
            member("haproxy_server_status", "redis-proxy-y", "redis-1", "UP"): gauge((11, 0), (0, 1)),
        },
        never(10, 11, 12, 20),
        near="RedisWithoutPrimary",
    ),
    Case(
        "a replica of Redis away for twenty minutes",
        answers_of("redis-2", "L7RSP", gauge((10, 1), (20, 0), (0, 1))),
        {19: [], 21: [firing("RedisMemberAway")], 31: []},
    ),
    Case(
        "the proxy of one node silent",
        {up("redis-proxy", "redis-proxy-x", "gpu-1"): gauge((10, 1), (20, 0), (0, 1))},
        {14: [], 16: [down("RedisProxyDown", "redis-proxy", "redis-proxy-x", "gpu-1")], 31: []},
    ),
    Case(
        "the proxy of one node replaced within 4 minutes",
        {up("redis-proxy", "redis-proxy-x", "gpu-1"): gauge((10, 1), (4, 0), (0, 1))},
        never(12, 14, 16),
        near="RedisProxyDown",
    ),
    # gateway
    Case(
        "7 % of what users ask for ends with 503",
        {FAILED_X: counter((10, 0), (14, 110), (0, 0))},
        {
            12: [],
            16: [FAST_BURN],
            20: [firing("GatewayErrors", entrypoint="web"), FAST_BURN],
            23: [firing("GatewayErrors", entrypoint="web"), FAST_BURN],
            36: [burn("Availability", "critical", "6h", "30m")],
        },
    ),
    Case(
        "0.5 % of what users ask for ends with 503",
        {FAILED_X: counter((10, 0), (30, 7), (0, 0))},
        never(12, 18, 30, 42),
        near="GatewayErrors",
    ),
    Case(
        "one gateway delays everything",
        {SLOW_X: counter((10, 350), (30, 0), (0, 350))},
        {26: [], 30: [firing("GatewaySlow")], 50: []},
    ),
    Case(
        "all answers are long",
        {
            SLOW_X: counter((10, 350), (30, 0), (0, 350)),
            http_seconds("bucket", A, "1.2"): counter((10, 300), (30, 0), (0, 300)),
        },
        never(26, 30, 50),
        near="GatewaySlow",
    ),
    # engine
    Case(
        "a queue that is never empty",
        {engine("vllm:num_requests_waiting", A): gauge((10, 0), (25, 5), (0, 0))},
        {
            24: [],
            26: [
                firing(
                    "EngineQueueBacklog",
                    job="qwen3-vl-engine",
                    node="gpu-1",
                    model_name="Qwen3-VL-4B-Instruct",
                    engine="0",
                    **REPLICA_A,
                )
            ],
            36: [],
        },
    ),
    Case(
        "a queue that empties once in between",
        {engine("vllm:num_requests_waiting", A): gauge((10, 0), (8, 50), (0.5, 0), (10, 50), (0, 0))},
        never(18, 26, 28, 30),
        near="EngineQueueBacklog",
    ),
    Case(
        "a KV cache that is full",
        {engine("vllm:kv_cache_usage_perc", B): gauge((10, 0.4), (15, 0.99), (0, 0.4))},
        {
            19: [],
            21: [
                firing(
                    "EngineCacheFull",
                    job="qwen3-vl-engine",
                    namespace="default",
                    pod=B,
                    node="gpu-2",
                    model_name="Qwen3-VL-4B-Instruct",
                    engine="0",
                )
            ],
            26: [],
        },
    ),
    Case(
        "a KV cache well used",
        {engine("vllm:kv_cache_usage_perc", B): gauge((10, 0.4), (30, 0.94), (0, 0.4))},
        never(19, 21, 39),
        near="EngineCacheFull",
    ),
    Case(
        "a fifth of the answers begins after 2.5 s",
        {name: counter((10, 600), (20, 480), (0, 600)) for name in FIRST_TOKENS},
        {24: [], 27: [firing("FirstTokenSlow")], 38: []},
    ),
    Case(
        "7 % of the answers begin after 2.5 s",
        {name: counter((10, 600), (20, 558), (0, 600)) for name in FIRST_TOKENS},
        never(24, 27, 38),
        near="FirstTokenSlow",
    ),
    # GPUs
    Case(
        "a GPU that is not there any more",
        {gpu("DCGM_FI_DEV_GPU_UTIL", "gpu-2"): gauge((20, 50), (20, None), (0, 50))},
        {29: [], 31: [GONE_2], 34: [GONE_2], 36: [GONE_2, NO_GPU_SIGNAL], 41: []},
    ),
    Case(
        "a GPU that is not reported for 9 minutes",
        {gpu("DCGM_FI_DEV_GPU_UTIL", "gpu-2"): gauge((20, 50), (9, None), (0, 50))},
        never(21, 28, 31),
        near="GpuMissing",
    ),
    Case(
        "a GPU on a node that is removed",
        {
            gpu("DCGM_FI_DEV_GPU_UTIL", "gpu-2"): gauge((20, 50), (0, None)),
            offered("gpu-2"): gauge((20, 1), (0, None)),
            **{up(f"qwen3-vl-{what}", B, "gpu-2"): gauge((20, 1), (0, None)) for what in ("engine", "webui")},
            webui("webui_ready", B): gauge((20, 1), (12, None), (0, 1)),
            'up{job="node-exporter",node="gpu-2"}': gauge((20, 1), (0, None)),
        },
        never(31, 40, 60),
        near="GpuMissing",
    ),
    Case(
        "an exporter that does not answer and shows nothing",
        {
            up("dcgm-exporter", "dcgm-exporter-y", "gpu-2", "kube-system"): gauge((20, 1), (14, 0), (0, 1)),
            gpu("DCGM_FI_DEV_GPU_UTIL", "gpu-2"): gauge((20, 50), (14, None), (0, 50)),
        },
        {
            24: [],
            31: [down("GpuExporterDown", "dcgm-exporter", "dcgm-exporter-y", "gpu-2", "kube-system")],
            35: [],
        },
    ),
    Case(
        "a GPU that no pod can have",
        {offered("gpu-1"): gauge((10, 1), (20, 0), (0, 1))},
        {19: [], 21: [firing("GpuNotOffered", node="gpu-1")], 31: []},
    ),
    Case(
        "a device plugin that is replaced",
        {offered("gpu-1"): gauge((10, 1), (8, 0), (0, 4))},
        never(17, 19, 30),
        near="GpuNotOffered",
    ),
    Case(
        "a GPU that fell off the bus",
        {gpu("DCGM_FI_DEV_XID_ERRORS", "gpu-1"): gauge((10, 0), (10, 79), (0, 0))},
        {9: [], 10.5: [firing("GpuXidFatal", "critical", **GPU_1)], 21: []},
        near="GpuXidError",
    ),
    Case(
        "an application's error on a GPU, and another one",
        {gpu("DCGM_FI_DEV_XID_ERRORS", "gpu-1"): gauge((10, 0), (70, 31), (0, 43))},
        {
            9: [],
            11: [firing("GpuXidError", **GPU_1)],
            69: [firing("GpuXidError", **GPU_1)],
            71: [],
            81: [firing("GpuXidError", **GPU_1)],
            141: [],
        },
        near="GpuXidFatal",
    ),
    Case(
        "a GPU at 90 degrees",
        {gpu("DCGM_FI_DEV_GPU_TEMP", "gpu-1"): gauge((10, 60), (15, 90), (0, 60))},
        {18: [], 21: [firing("GpuHot", **GPU_1)], 27: []},
    ),
    Case(
        "a GPU at 86 degrees",
        {gpu("DCGM_FI_DEV_GPU_TEMP", "gpu-1"): gauge((10, 60), (30, 86), (0, 60))},
        never(18, 21, 39),
        near="GpuHot",
    ),
    Case(
        "an uncorrectable memory error, and a reset",
        {gpu("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "gpu-1"): gauge((10, 0), (10, 1), (0, 0))},
        {9: [], 10.5: [firing("GpuMemoryErrors", "critical", **GPU_1)], 21: []},
    ),
    Case(
        "corrected memory errors",
        {gpu("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "gpu-1"): counter((10, 0), (0, 100))},
        never(10.5, 21),
        near="GpuMemoryErrors",
    ),
    Case(
        "memory that cannot be repaired",
        {gpu("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gpu-1"): gauge((10, 0), (10, 1), (0, None))},
        {9: [], 10.5: [firing("GpuRowRemapFailed", "critical", **GPU_1)], 21: []},
    ),
    Case(
        "memory that was repaired",
        {gpu("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "gpu-1"): counter((10, 0), (0, 2))},
        never(10.5, 21),
        near="GpuRowRemapFailed",
    ),
    # certificate
    Case(
        "a certificate that is renewed when two weeks are left",
        {
            **{certificate_end(pod): gauge((0, 14 * DAY + 600)) for pod in (X, Y)},
            **{certificate_end(pod, 2): gauge((40, None), (0, 90 * DAY)) for pod in (X, Y)},
        },
        {24: [], 26: [firing("CertificateEnding")], 41: []},
    ),
    Case(
        "a certificate with three days left, and one gateway that has not got the renewed one",
        {
            **{certificate_end(pod): gauge((0, 3 * DAY + 600)) for pod in (X, Y)},
            certificate_end(X, 2): gauge((40, None), (0, 90 * DAY)),
            certificate_end(Y, 2): gauge((50, None), (0, 90 * DAY)),
        },
        {
            24: [firing("CertificateEnding")],
            26: [firing("CertificateEnding"), firing("CertificateEnding", "critical")],
            41: [firing("CertificateEnding"), firing("CertificateEnding", "critical")],
            51: [],
        },
    ),
    Case(
        "a former certificate that ends, beside the renewed one",
        {
            **{certificate_end(pod): gauge((0, 600)) for pod in (X, Y)},
            **{certificate_end(pod, 2): gauge((0, 30 * DAY)) for pod in (X, Y)},
        },
        never(5, 26, 60),
        near="CertificateEnding",
    ),
    Case(
        "a gateway that loses its certificate",
        {certificate_end(X): gauge((10, 90 * DAY), (10, None), (0, 90 * DAY))},
        {
            14: [],
            16: [firing("CertificateNotServed", "critical", job="traefik", namespace="traefik", pod=X, node="gpu-1")],
            21: [],
        },
    ),
    Case(
        "a gateway that is replaced",
        {
            certificate_end(X): gauge((10, 90 * DAY), (20, None), (0, 90 * DAY)),
            UP_X: gauge((10, 1), (18, None), (0, 1)),
        },
        never(14, 16, 29, 40),
        near="CertificateNotServed",
    ),
    # images: 48 hours, of which all but minutes have gone when the clock begins
    Case(
        "an image with critical vulnerabilities, and then without",
        {vulnerabilities("redis", "CRITICAL", "true"): gauge((10, 0), (30, 2), (0, 0))},
        {24: [], 26: [firing("ImageVulnerable", image="redis")], 41: []},
    ),
    Case(
        "a critical vulnerability without a fix, and a lesser one with it",
        {
            vulnerabilities("redis", "CRITICAL", "false"): gauge((0, 5)),
            vulnerabilities("redis", "HIGH", "true"): gauge((0, 5)),
        },
        never(16, 26, 60),
        near="ImageVulnerable",
    ),
    Case(
        "an image that is scanned again after more than two turns",
        {waiting_since("redis"): gauge((30, 600 - 2 * DAY), (0, 1800))},
        {24: [], 26: [firing("ImageScanOld", image="redis")], 31: []},
    ),
    Case(
        "an image that is scanned again in the last hour",
        {waiting_since("redis"): gauge((60, 3000 - 2 * DAY), (0, 3600))},
        never(26, 40, 59, 61),
        near="ImageScanOld",
    ),
    Case(
        "an exporter of the results that is away",
        {waiting_since("redis"): gauge((10, 0), (35, None), (0, 0))},
        {39: [], 41: [firing("ImageScanSilent", job="image-scan")], 46: []},
    ),
    Case(
        "an exporter of the results that moves",
        {waiting_since("redis"): gauge((10, 0), (20, None), (0, 0))},
        never(29, 31, 45),
        near="ImageScanSilent",
    ),
    # Prometheus
    Case(
        "a rule that fails again and again",
        {RULES: counter((10, 0), (20, 4), (0, 0))},
        {19: [], 21: [firing("PrometheusRuleFailures", rule_group="/etc/prometheus/alerts.yml;gpus")], 36: []},
    ),
    Case(
        "a rule that failed once",
        {RULES: counter((10, 0), (0.5, 4), (0, 0))},
        never(11, 15, 21),
        "PrometheusRuleFailures",
    ),
    Case(
        "little room for samples",
        {BLOCKS: gauge((10, 4e9), (40, 6e9), (0, 4e9))},
        {39: [], 41: [firing("PrometheusStorageNearLimit", job="prometheus", instance="127.0.0.1:9090")], 51: []},
    ),
    Case(
        "enough room for samples",
        {BLOCKS: gauge((10, 4e9), (0, 5.6e9))},
        never(39, 41, 60),
        "PrometheusStorageNearLimit",
    ),
    Case(
        "an API of metrics that two API servers do not reach",
        {api_away("v1beta1.metrics.k8s.io", node): gauge((10, 0), (20, 1), (0, 0)) for node in ("cp-1", "cp-2")},
        {19: [], 21: [firing("MetricsApiDown", name="v1beta1.metrics.k8s.io")], 31: []},
    ),
    Case(
        "an API of metrics that is replaced",
        {api_away("v1beta1.metrics.k8s.io", "cp-1"): gauge((10, 0), (9, 1), (0, 0))},
        never(18, 20, 30),
        near="MetricsApiDown",
    ),
    Case(
        "nobody counts requests in flight",
        {webui("webui_requests_in_flight", pod, ',kind="chat"'): gauge((10, 3), (30, None), (0, 3)) for pod in (A, B)},
        {
            24: [],
            26: [firing("ScalingMetricMissing", namespace="default", metric="qwen3_vl_requests_in_flight")],
            41: [],
        },
    ),
    Case(
        "one replica counts its requests in flight",
        {webui("webui_requests_in_flight", A, ',kind="chat"'): gauge((10, 3), (30, None), (0, 3))},
        never(24, 26, 41),
        near="ScalingMetricMissing",
    ),
]


def sample(alert: Firing) -> dict[str, Any]:
    labels = {"alertname": alert.name, "alertstate": "firing", "severity": alert.severity, **alert.labels}
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"labels": f"ALERTS{{{inside}}}", "value": 1}


def rules_tried_here(watched: Watched) -> str:
    """Without those on what the service runs on: its series are not among these, and to compute nothing takes time too."""
    tried = [group for part in PARTS if part not in CLUSTER for group in part.groups(watched)]
    return yaml.safe_dump({"groups": [group.group("docs/runbooks") for group in tried]}, sort_keys=False, width=200)


def try_alerts(
    folder: Path,
    series: Series,
    expected: Mapping[float, list[Firing]],
    every: int,
    selector: str,
    watched: Watched = SHORT,
) -> None:
    """What fires at those minutes is exactly what is expected."""
    promtool.try_rules(
        folder,
        {"alerts.yml": rules_tried_here(watched), "autoscaling.yml": rules_yaml(60)},
        text(series, int(max(expected)) + 1, every),
        [
            {
                "expr": f'ALERTS{{alertstate="firing",{selector}}}',
                "eval_time": f"{round(minute * 60)}s",
                "exp_samples": [sample(alert) for alert in firing_then],
            }
            for minute, firing_then in expected.items()
        ],
        every,
    )


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_a_cause_and_what_fires(case: Case, tmp_path: Path) -> None:
    try_alerts(tmp_path, healthy() | dict(case.change), case.expected, EVERY, 'alertname!="Watchdog"')


def issuer(metric: str) -> str:
    return f'{metric}{{job="acme-issuer",namespace="default",pod="acme-issuer-x",node="gpu-1"}}'


OF_ISSUER = {"job": "acme-issuer", "namespace": "default", "pod": "acme-issuer-x", "node": "gpu-1"}
ORDERED: Series = {
    issuer("up"): gauge((0, 1)),
    issuer("acme_issuer_lifetime_seconds"): gauge((0, 90 * DAY)),
    issuer("acme_issuer_not_after_seconds"): gauge((0, 60 * DAY)),
    issuer("acme_issuer_failures_in_a_row"): gauge((0, 0)),
}
LATE, NO_ORDER = firing("CertificateEnding", **OF_ISSUER), firing("CertificateOrderFailing", **OF_ISSUER)
ORDERS = [
    Case(
        "a certificate that is renewed when less than a quarter of its life is left",
        {issuer("acme_issuer_not_after_seconds"): gauge((40, 22.5 * DAY + 600), (0, 112 * DAY))},
        {24: [], 26: [LATE], 41: []},
    ),
    Case(
        "one with less than a twelfth left",
        {issuer("acme_issuer_not_after_seconds"): gauge((0, 7.5 * DAY))},
        {26: [LATE, firing("CertificateEnding", "critical", **OF_ISSUER)]},
    ),
    Case(
        "six days' life, of which a third is left",
        {
            issuer("acme_issuer_lifetime_seconds"): gauge((0, 6 * DAY)),
            issuer("acme_issuer_not_after_seconds"): gauge((0, 2 * DAY)),
        },
        never(26, 60),
    ),
    Case(
        "orders that fail",
        {issuer("acme_issuer_failures_in_a_row"): gauge((10, 0), (40, 3), (0, 0))},
        {24: [], 26: [NO_ORDER], 51: []},
    ),
    Case("two failures", {issuer("acme_issuer_failures_in_a_row"): gauge((10, 0), (0, 2))}, never(26, 60)),
    Case(
        "an issuer that does not answer",
        {issuer("up"): gauge((10, 1), (40, 0), (0, 1))},
        {24: [], 26: [NO_ORDER], 51: []},
    ),
    Case(
        "an issuer that is gone",
        {name: gauge((10, 0 if "failures" in name else 90 * DAY), (0, None)) for name in ORDERED},
        {14: [], 40: [firing("CertificateOrderFailing", job="acme-issuer")]},
    ),
]


@pytest.mark.parametrize("case", ORDERS, ids=[case.what for case in ORDERS])
def test_a_certificate_that_is_ordered(case: Case, tmp_path: Path) -> None:
    said = 'alertname=~"Certificate(Ending|OrderFailing)"'
    try_alerts(tmp_path, {**ORDERED, **case.change}, case.expected, EVERY, said, replace(SHORT, acme=True))


def test_the_watchdog_fires_always_even_with_nothing_to_watch(tmp_path: Path) -> None:
    series = {prometheus("up"): gauge((0, 1))}
    try_alerts(
        tmp_path, series, {minute: [firing("Watchdog", "none")] for minute in (0, 1, 60)}, EVERY, 'alertname="Watchdog"'
    )


def test_a_gpu_that_was_taken_out_is_told_of_for_six_hours(tmp_path: Path) -> None:
    series = healthy() | {gpu("DCGM_FI_DEV_GPU_UTIL", "gpu-2"): gauge((20, 50), (0, None))}
    try_alerts(tmp_path, series, {31: [GONE_2], 375: [GONE_2], 381: []}, 60, 'alertname="GpuMissing"')


# Of 1212 answers a minute. The budget is 0.1 % of them, and 5 % for slow ones.
EVERY_ANSWER = 1212
SLOW = http_seconds("bucket", A, "10.0"), http_seconds("bucket", B, "10.0")
BURNS = [
    Case(
        "2 % fail after hours without a failure",
        {FAILED_X: counter((400, 0), (70, 0.02 * EVERY_ANSWER), (0, 0))},
        {444: [], 450: [FAST_BURN], 469: [FAST_BURN], 478: []},
    ),
    Case(
        "1.3 % fail for three hours",
        {FAILED_X: counter((400, 0), (190, 0.013 * EVERY_ANSWER), (0, 0))},
        {
            570: [],
            588: [burn("Availability", "critical", "6h", "30m"), burn("Availability", "warning", "1d", "2h")],
            610: [burn("Availability", "warning", "1d", "2h")],
        },
    ),
    Case(
        "0.4 % fail for two hours",
        {FAILED_X: counter((120, 0.004 * EVERY_ANSWER), (0, 0))},
        {58: [], 62: [burn("Availability", "warning", "1d", "2h")], 160: []},
    ),
    Case(
        "0.15 % fail for ten hours",
        {FAILED_X: counter((600, 0.0015 * EVERY_ANSWER), (0, 0))},
        {
            175: [],
            190: [burn("Availability", "warning", "3d", "6h")],
            590: [burn("Availability", "warning", "3d", "6h")],
            760: [],
        },
    ),
    Case(
        "half of the budget is used, all the time",
        {FAILED_X: counter((0, 0.0005 * EVERY_ANSWER))},
        never(10, 70, 200, 400),
        near="AvailabilityBudgetBurn",
    ),
    Case(
        "a quiet night: the only requests in an hour fail",
        {
            **{name: counter((0, 0)) for pod in (A, B) for name in (http(pod, "200"), chats(pod, "done"))},
            FAILED_X: counter((60, 0), (1, 4), (0, 0)),
        },
        never(61, 64, 70, 100, 300),
        near="AvailabilityBudgetBurn",
    ),
    Case(
        "chats fail, which the gateway sees as answered",
        {chats(A, "failed"): counter((0, 0.1 * EVERY_ANSWER))},
        {0: [], 5: [FAST_BURN]},
    ),
    Case(
        "80 % of the answers are slow for half an hour",
        {name: counter((30, 120), (0, 600)) for name in SLOW},
        {
            1: [],
            5: [burn("Latency", "critical", "1h", "5m")],
            20: [burn("Latency", "critical", "1h", "5m"), burn("Latency", "critical", "6h", "30m")],
            37: [burn("Latency", "critical", "6h", "30m")],
            55: [],
        },
    ),
    Case(
        "4 % of the answers are slow, all the time",
        {name: counter((0, 600 * 0.96)) for name in SLOW},
        never(10, 70, 200, 400),
        near="LatencyBudgetBurn",
    ),
]


@pytest.mark.parametrize("case", BURNS, ids=[case.what for case in BURNS])
def test_an_error_budget_that_is_used_up_too_fast(case: Case, tmp_path: Path) -> None:
    answers = {
        name: path for name, path in healthy().items() if name.startswith(("traefik_", "webui_http", "webui_chat"))
    }
    try_alerts(tmp_path, answers | dict(case.change), case.expected, 60, 'alertname=~".+BudgetBurn"', WATCHED)


def tried_here() -> set[str]:
    """All but those on what the service runs on, which test_alerts_nodes.py and its neighbours try."""
    elsewhere = {
        rule.name
        for part in CLUSTER
        for group in part.groups(WATCHED)
        for rule in group.rules
        if isinstance(rule, Alert)
    }
    return {alert.name for alert in alerts(WATCHED)} - elsewhere - {"Watchdog"}


def test_every_alert_is_tried_and_so_is_a_near_miss_of_it() -> None:
    names = tried_here()
    fired = {each.name for case in [*CASES, *BURNS] for firing_then in case.expected.values() for each in firing_then}
    assert fired == names
    near = {case.near for case in [*CASES, *BURNS]} - {""}
    assert near == names
    burning = {
        (each.name, each.labels["long"])
        for case in BURNS
        for firing_then in case.expected.values()
        for each in firing_then
    }
    availability = {("AvailabilityBudgetBurn", window) for window in ("1h", "6h", "1d", "3d")}
    assert burning == availability | {("LatencyBudgetBurn", window) for window in ("1h", "6h")}


def test_every_alert_is_seen_to_clear() -> None:
    cleared = set()
    for case in [*CASES, *BURNS]:
        *before, last = ({each.name for each in case.expected[minute]} for minute in sorted(case.expected))
        cleared |= {name for then in before for name in then - last}
    assert cleared == tried_here()


def test_a_text_names_labels_that_the_alert_has() -> None:
    rules = {alert.name: alert for alert in alerts(WATCHED)}
    for case in [*CASES, *BURNS]:
        for each in (one for firing_then in case.expected.values() for one in firing_then):
            named = set(re.findall(r"\$labels\.(\w+)", rules[each.name].summary + rules[each.name].description))
            assert named <= {"severity", *each.labels}, (each.name, named)


TEXTS = [
    (
        {gpu("DCGM_FI_DEV_XID_ERRORS", "gpu-1"): gauge((0, 79))},
        "GpuXidFatal",
        {"severity": "critical", **GPU_1},
        "GPU 0 of gpu-1 has failed (Xid 79)",
    ),
    (
        {webui("webui_ready", A): gauge((0, 0))},
        "ReplicasMissing",
        {"severity": "warning"},
        "1 of 2 replicas are ready",
    ),
    (
        {name: counter((0, 480)) for name in FIRST_TOKENS},
        "FirstTokenSlow",
        {"severity": "warning"},
        "One answer in ten begins after 3.75s",
    ),
    (
        {chats(pod, "failed"): counter((0, 2)) for pod in (A, B)},
        "ChatAnswersFailing",
        {"severity": "warning"},
        "25% of the chat answers fail",
    ),
]


@pytest.mark.parametrize(("change", "name", "labels", "summary"), TEXTS, ids=[name for _, name, _, _ in TEXTS])
def test_what_an_alert_says(change: Series, name: str, labels: dict[str, str], summary: str, tmp_path: Path) -> None:
    rule = next(alert for alert in alerts(WATCHED) if alert.name == name)
    said = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], rule.description)
    runbook = f"https://git.example.com/runbooks/{name}.md"
    told = {
        "exp_labels": labels,
        "exp_annotations": {"summary": summary, "description": said, "runbook_url": runbook},
    }
    promtool.try_texts(
        tmp_path,
        alerts_yaml(SHORT, "https://git.example.com/runbooks"),
        text(healthy() | dict(change), 30, EVERY),
        {"alertname": name, "eval_time": "25m", "exp_alerts": [told]},
        EVERY,
    )


def queries() -> dict[str, str]:
    """What the runbooks tell one to ask, by page and place."""
    pages = (Path(__file__).resolve().parents[2] / "docs/runbooks").glob("*.md")
    return {
        f"{page.stem}_{number}": query
        for page in sorted(pages)
        for number, query in enumerate(re.findall(r"query '([^']+)'", page.read_text()))
    }


def test_what_a_page_asks_prometheus_is_a_query(tmp_path: Path) -> None:
    asked = queries()
    assert len(asked) > 40
    rules = [{"record": f"page:{name}", "expr": query} for name, query in asked.items()]
    (tmp_path / "pages.yml").write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]}))
    done = promtool.run("check", "rules", "--lint=none", "pages.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
