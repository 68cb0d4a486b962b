"""The series that Prometheus has of a small stack that is well: two replicas, each on a node with one GPU, and two gateways.

A path says how a series goes: pairs of minutes and, for a gauge, its value (None: it is gone), for a counter, its growth a
minute. The last pair's minutes do not matter; it lasts to the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[tuple[float, float | None], ...]
A, B = "qwen3-vl-webui-7c9d8bfb5c-aaaaa", "qwen3-vl-webui-7c9d8bfb5c-bbbbb"
NODES = {A: "gpu-1", B: "gpu-2"}
GATEWAYS = {"traefik-5d8f-x": "gpu-1", "traefik-5d8f-y": "gpu-2"}
PROXIES = {"redis-proxy-x": "gpu-1", "redis-proxy-y": "gpu-2"}
MEMBERS = ("redis-0", "redis-1", "redis-2")
EXPORTERS = {"dcgm-exporter-x": "gpu-1", "dcgm-exporter-y": "gpu-2"}
# Requests a minute.
API, CHATS, GATEWAY = 600, 6, 700


@dataclass(frozen=True, slots=True)
class Gauge:
    path: Path

    def values(self, minutes: int, every_seconds: int) -> str:
        parts = []
        for count, value in _counts(self.path, minutes, every_seconds):
            if value is None:
                parts.append("stale" + (f" _x{count - 1}" if count > 1 else ""))
            else:
                parts.append(f"{value:g}+0x{count - 1}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Counter:
    path: Path

    def values(self, minutes: int, every_seconds: int) -> str:
        """Whole numbers only: sums of others differ in their last digit, and a counter that falls has been reset."""
        parts, total = [], 0.0
        for count, growth in _counts(self.path, minutes, every_seconds):
            step = (growth or 0.0) * every_seconds / 60
            if step == int(step) and total == int(total):
                parts.append(f"{total + step:.0f}+{step:.0f}x{count - 1}")
            else:
                parts += [f"{int(total + number * step)}" for number in range(1, count + 1)]
            total += step * count
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Values:
    """A series in promtool's own notation; short ones go on with their last value."""

    notation: str

    def values(self, minutes: int, every_seconds: int) -> str:  # noqa: ARG002  like the others
        return self.notation


Series = Mapping[str, Gauge | Counter | Values]


def gauge(*path: tuple[float, float | None]) -> Gauge:
    return Gauge(path)


def counter(*path: tuple[float, float | None]) -> Counter:
    return Counter(path)


def text(series: Series, minutes: int, every_seconds: int) -> dict[str, str]:
    """As promtool reads them."""
    return {name: each.values(minutes, every_seconds) for name, each in series.items()}


def _counts(path: Path, minutes: int, every_seconds: int) -> list[tuple[int, float | None]]:
    """How many samples each part of a path has, up to and with the last minute."""
    counts = [round(length * 60 / every_seconds) for length, _ in path[:-1]]
    rest = minutes * 60 // every_seconds + 1 - sum(counts)
    return [(count, value) for count, (_, value) in zip([*counts, rest], path, strict=True) if count > 0]


def up(job: str, pod: str, node: str, namespace: str = "default") -> str:
    return f'up{{job="{job}",namespace="{namespace}",pod="{pod}",node="{node}"}}'


def webui(metric: str, pod: str, labels: str = "") -> str:
    return f'{metric}{{job="qwen3-vl-webui",namespace="default",pod="{pod}",node="{NODES[pod]}"{labels}}}'


def http(pod: str, code: str, route: str = "/v1/chat/completions") -> str:
    return webui("webui_http_requests_total", pod, f',route="{route}",method="POST",code="{code}"')


def http_seconds(part: str, pod: str, le: str = "") -> str:
    bound = f',le="{le}"' if le else ""
    return webui(f"webui_http_request_duration_seconds_{part}", pod, f',route="/v1/chat/completions"{bound}')


def chats(pod: str, outcome: str) -> str:
    return webui("webui_chat_answers_total", pod, f',outcome="{outcome}"')


def engine(metric: str, pod: str, labels: str = "") -> str:
    place = f'job="qwen3-vl-engine",namespace="default",pod="{pod}",node="{NODES[pod]}"'
    return f'{metric}{{{place},model_name="Qwen3-VL-4B-Instruct",engine="0"{labels}}}'


def gateway(metric: str, pod: str, code: str, labels: str = "") -> str:
    place = f'job="traefik",namespace="traefik",pod="{pod}",node="{GATEWAYS[pod]}"'
    return f'{metric}{{{place},entrypoint="web",method="POST",protocol="http",code="{code}"{labels}}}'


def certificate_end(pod: str, serial: int = 1) -> str:
    place = f'job="traefik",namespace="traefik",pod="{pod}",node="{GATEWAYS[pod]}"'
    return f'traefik_tls_certs_not_after{{{place},cn="qwen3.example.com",sans="qwen3.example.com",serial="{serial}"}}'


def member(metric: str, proxy: str, server: str, state: str) -> str:
    """As one proxy sees one member of the Redis group."""
    place = f'job="redis-proxy",namespace="default",pod="{proxy}",node="{PROXIES[proxy]}"'
    return f'{metric}{{{place},proxy="redis",server="{server}",state="{state}"}}'


def is_primary(server: str, path: Gauge) -> dict[str, Gauge | Counter]:
    return {member("haproxy_server_status", proxy, server, "UP"): path for proxy in PROXIES}


def answers_of(server: str, state: str, path: Gauge) -> dict[str, Gauge | Counter]:
    return {member("haproxy_server_check_status", proxy, server, state): path for proxy in PROXIES}


def _sessions() -> dict[str, Gauge | Counter]:
    """redis-0 is the primary."""
    series: dict[str, Gauge | Counter] = {up("redis-proxy", pod, node): gauge((0, 1)) for pod, node in PROXIES.items()}
    for server in MEMBERS:
        first = server == MEMBERS[0]
        series |= is_primary(server, gauge((0, float(first))))
        series |= answers_of(server, "L7OK", gauge((0, float(first))))
        series |= answers_of(server, "L7RSP", gauge((0, float(not first))))
        series |= answers_of(server, "L4TOUT", gauge((0, 0)))
    return series


def gpu(metric: str, node: str) -> str:
    """The exporter's series name the pod that holds the GPU, and the scrape the exporter's node."""
    pod = {"gpu-1": A, "gpu-2": B}[node]
    place = f'job="dcgm-exporter",namespace="default",pod="{pod}",container="engine",node="{node}"'
    return f'{metric}{{{place},gpu="0",UUID="GPU-{node}",Hostname="{node}"}}'


def offered(node: str) -> str:
    """GPUs that pods may have."""
    place = f'job="kube-state-metrics",node="{node}",namespace="observability",pod="kube-state-metrics-x"'
    return f'kube_node_status_allocatable{{{place},resource="nvidia_com_gpu",unit="integer"}}'


def api_away(name: str, node: str) -> str:
    return f'aggregator_unavailable_apiservice{{job="kube-apiserver",node="{node}",name="{name}"}}'


def scanned(metric: str, labels: str) -> str:
    place = 'job="image-scan",namespace="observability",pod="image-scan-x",node="gpu-1"'
    return f"{metric}{{{place},{labels}}}"


def vulnerabilities(image: str, severity: str, fixable: str) -> str:
    return scanned("image_vulnerabilities", f'image="{image}",severity="{severity}",fixable="{fixable}"')


def waiting_since(image: str) -> str:
    return scanned("image_scan_waiting_since_timestamp_seconds", f'image="{image}"')


def prometheus(metric: str, labels: str = "") -> str:
    return f'{metric}{{job="prometheus",instance="127.0.0.1:9090"{labels}}}'


def healthy() -> dict[str, Gauge | Counter]:
    series: dict[str, Gauge | Counter] = {prometheus("up"): gauge((0, 1))}
    for pod, node in NODES.items():
        series |= _replica(pod, node)
    for pod, node in GATEWAYS.items():
        series |= {
            up("traefik", pod, node, "traefik"): gauge((0, 1)),
            certificate_end(pod): gauge((0, 90 * 24 * 3600)),
            gateway("traefik_entrypoint_requests_total", pod, "200"): counter((0, GATEWAY)),
            gateway("traefik_entrypoint_requests_total", pod, "503"): counter((0, 0)),
            gateway("traefik_entrypoint_request_duration_seconds_count", pod, "200"): counter((0, GATEWAY)),
            gateway("traefik_entrypoint_request_duration_seconds_bucket", pod, "200", ',le="1.2"'): counter(
                (0, GATEWAY / 2)
            ),
        }
    series |= _sessions()
    series |= {waiting_since("redis"): gauge((0, 0)), vulnerabilities("redis", "CRITICAL", "true"): gauge((0, 0))}
    for pod, node in EXPORTERS.items():
        series |= {
            up("dcgm-exporter", pod, node, "kube-system"): gauge((0, 1)),
            f'up{{job="node-exporter",node="{node}"}}': gauge((0, 1)),
            offered(node): gauge((0, 1)),
            gpu("DCGM_FI_DEV_GPU_UTIL", node): gauge((0, 50)),
            gpu("DCGM_FI_DEV_XID_ERRORS", node): gauge((0, 0)),
            gpu("DCGM_FI_DEV_GPU_TEMP", node): gauge((0, 60)),
            gpu("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", node): counter((0, 0)),
            gpu("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", node): counter((0, 0)),
            gpu("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", node): counter((0, 0)),
            gpu("DCGM_FI_DEV_ROW_REMAP_FAILURE", node): gauge((0, 0)),
        }
    failures = prometheus("prometheus_rule_evaluation_failures_total", ',rule_group="/etc/prometheus/alerts.yml;gpus"')
    away = {api_away("v1beta1.metrics.k8s.io", node): gauge((0, 0)) for node in ("cp-1", "cp-2")}
    return series | {
        failures: counter((0, 0)),
        **away,
        prometheus("prometheus_tsdb_storage_blocks_bytes"): gauge((0, 4e9)),
        prometheus("prometheus_tsdb_wal_storage_size_bytes"): gauge((0, 1e9)),
        prometheus("prometheus_tsdb_head_chunks_storage_size_bytes"): gauge((0, 5e8)),
        prometheus("prometheus_tsdb_retention_limit_bytes"): gauge((0, 8e9)),
    }


def _replica(pod: str, node: str) -> dict[str, Gauge | Counter]:
    first_token = "vllm:time_to_first_token_seconds_bucket"
    return {
        up("qwen3-vl-webui", pod, node): gauge((0, 1)),
        up("qwen3-vl-engine", pod, node): gauge((0, 1)),
        webui("webui_ready", pod): gauge((0, 1)),
        webui("webui_dependency_up", pod, ',dependency="engine"'): gauge((0, 1)),
        webui("webui_dependency_up", pod, ',dependency="redis"'): gauge((0, 1)),
        webui("webui_requests_in_flight", pod, ',kind="chat"'): gauge((0, 3)),
        http(pod, "200"): counter((0, API)),
        http(pod, "200", "/ready"): counter((0, 6)),
        http_seconds("count", pod): counter((0, API)),
        http_seconds("bucket", pod, "1.2"): counter((0, API / 2)),
        http_seconds("bucket", pod, "10.0"): counter((0, API)),
        chats(pod, "done"): counter((0, CHATS)),
        chats(pod, "failed"): counter((0, 0)),
        webui("webui_chat_answer_duration_seconds_count", pod): counter((0, CHATS)),
        webui("webui_chat_answer_duration_seconds_bucket", pod, ',le="10.0"'): counter((0, CHATS)),
        webui("webui_api_requests_refused_total", pod): counter((0, 0)),
        webui("webui_history_errors_total", pod): counter((0, 0)),
        engine("vllm:num_requests_waiting", pod): gauge((0, 0)),
        engine("vllm:kv_cache_usage_perc", pod): gauge((0, 0.4)),
        **{engine(first_token, pod, f',le="{le}"'): counter((0, API)) for le in ("1.0", "2.5", "5.0", "+Inf")},
    }
