"""Alerts name only metrics that something really exports, and each has its page; objectives that nobody can count are refused."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from components.observability.alerts import alerts, groups
from components.observability.alerts.index import every_alert, everything, index
from components.observability.alerts.rule import Recorded
from components.observability.prometheus_config import GPU_UTILIZATION, IN_FLIGHT, rules_yaml
from components.services.gpu_counters import COUNTERS, counters_csv
from components.settings.observability import ANSWER_BOUNDS, Objective
from components.settings.parse import parse
from components.settings.problem import SettingsError
from tests.support.cluster_metrics import CLUSTER
from tests.support.settings import with_value

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "images/webui"))
sys.path.insert(0, str(ROOT / "images/model-cache"))
from chat_webui import metrics as webui  # noqa: E402  a program of its own image
from image_scan.metrics import Results  # noqa: E402  likewise
from model_cache import metrics as model_cache  # noqa: E402  likewise
from model_cache.board import Board  # noqa: E402  likewise

RUNBOOKS = ROOT / "docs/runbooks"
ALERTS = every_alert()
NAMES = sorted({alert.name for alert in ALERTS})
HEADINGS = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]

# Names that no code of this repository says, and where they are said.
DOCUMENTED = {
    # Prometheus' own: every scrape has it.
    "up",
    # https://docs.vllm.ai/en/stable/usage/metrics/ and vllm/v1/metrics/loggers.py
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:time_to_first_token_seconds_bucket",
    # https://doc.traefik.io/traefik/v3.7/observability/metrics/overview/ and pkg/observability/metrics/prometheus.go
    "traefik_entrypoint_requests_total",
    "traefik_entrypoint_request_duration_seconds_bucket",
    "traefik_entrypoint_request_duration_seconds_count",
    "traefik_tls_certs_not_after",
    # tools/acme-issuer/metrics.go; tests/webui/test_acme.py asks a real one
    "acme_issuer_not_after_seconds",
    "acme_issuer_lifetime_seconds",
    "acme_issuer_failures_in_a_row",
    # HAProxy 2.6, "management guide"; tests/engine/test_alerts_live.py asks a real one
    "haproxy_server_status",
    "haproxy_server_check_status",
    # rules/group.go, tsdb/db.go, tsdb/head.go and tsdb/wlog/wlog.go of Prometheus 3
    "prometheus_rule_evaluation_failures_total",
    "prometheus_tsdb_storage_blocks_bytes",
    "prometheus_tsdb_wal_storage_size_bytes",
    "prometheus_tsdb_head_chunks_storage_size_bytes",
    "prometheus_tsdb_retention_limit_bytes",
    # notifier/metric.go of Prometheus 3; notify/notify.go, cluster/cluster.go and config/coordinator.go of Alertmanager 0.31,
    # images/model-cache/alert_relay/server.py; tests/engine/test_alertmanager.py asks real ones
    "prometheus_notifications_alertmanagers_discovered",
    "prometheus_notifications_dropped_total",
    "alertmanager_notifications_failed_total",
    "alertmanager_cluster_members",
    "alertmanager_config_last_reload_successful",
    "alert_relay_failures_total",
    # exporter/exporterhelper of the OpenTelemetry Collector 0.165, pkg/ingester/metrics.go of Loki 3.7; tests/engine/test_logs.py
    # asks real ones
    "otelcol_exporter_queue_size",
    "otelcol_exporter_queue_capacity",
    "otelcol_exporter_send_failed_log_records_total",
    "loki_ingester_chunk_stored_bytes_total",
} | CLUSTER
# The same for what only the pages ask.
DOCUMENTED_ON_PAGES = {
    "ALERTS",
    "vllm:num_requests_running",
    "vllm:num_preemptions_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
    "vllm:request_queue_time_seconds_bucket",
    "traefik_service_requests_total",
    "traefik_service_retries_total",
    "process_cpu_seconds_total",
    "prometheus_rule_group_last_duration_seconds",
    "prometheus_rule_group_interval_seconds",
    "prometheus_tsdb_head_series",
    "alertmanager_cluster_failed_peers",
    "alert_relay_sent_total",
    "prometheus_notifications_errors_total",
    "loki_distributor_bytes_received_total",
}
# Fields of DCGM that its exporter takes, from etc/default-counters.csv of NVIDIA/dcgm-exporter, those behind a `#` too.
DCGM = {
    "DCGM_FI_DEV_SM_CLOCK",
    "DCGM_FI_DEV_MEM_CLOCK",
    "DCGM_FI_DEV_MEMORY_TEMP",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_MEM_COPY_UTIL",
    "DCGM_FI_DEV_XID_ERRORS",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
    "DCGM_FI_DEV_ROW_REMAP_FAILURE",
}


def of_the_web_ui() -> set[str]:
    """The names its own registry exports."""
    return exported(webui.Metrics().registry)


def of_the_model_cache() -> set[str]:
    return exported(model_cache.Metrics(Board("node", "model", "revision")).registry)


def exported(registry: CollectorRegistry) -> set[str]:
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
    return {f"{family.name}{suffix}" for family in registry.collect() for suffix in suffixes[family.type]}


def of_the_image_scan() -> set[str]:
    """What its exporter shows."""
    return {family.name for family in Results(Path("/nowhere"), Path("/dev/null"), 0.0).collect()}


def recorded() -> set[str]:
    return {IN_FLIGHT, GPU_UTILIZATION} | {
        rule.record for group in groups(everything()) for rule in group.rules if isinstance(rule, Recorded)
    }


def ours() -> set[str]:
    """What this repository's own code exports or records, and the exporter is told to export."""
    programs = of_the_web_ui() | of_the_image_scan() | of_the_model_cache()
    return programs | recorded() | {counter.field for counter in COUNTERS}


def metrics_in(expr: str) -> set[str]:
    """The names of series in a PromQL expression."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\boffset\s+\w+", " ", bare)
    words = re.findall(r"[A-Za-z_:][\w:]*(?!\w*\s*\()", bare)
    return set(words) - {"and", "or", "unless", "by", "on"} - {word for word in words if word in FUNCTIONS}


FUNCTIONS = {"sum", "max", "min", "count", "rate", "increase", "absent", "vector", "topk", "histogram_quantile", "time"}


def test_the_reader_of_expressions_reads_them() -> None:
    expr = 'sum by (pod) (rate(a_total{x="b c",y!~"d"}[5m])) / on (pod) e:f:rate5m offset 1h > 0.5 and (up == 0 or vector(1))'
    assert metrics_in(expr) == {"a_total", "e:f:rate5m", "up"}


def expressions() -> list[tuple[str, str]]:
    return [
        (getattr(rule, "name", "") or getattr(rule, "record", ""), rule.expr)
        for watched in (everything(), replace(everything(), acme=True, alerting=True))
        for group in groups(watched)
        for rule in group.rules
    ]


@pytest.mark.parametrize(("name", "expr"), expressions(), ids=[name for name, _ in expressions()])
def test_every_metric_of_a_rule_exists(name: str, expr: str) -> None:
    known = DOCUMENTED | ours()
    assert metrics_in(expr) <= known
    assert metrics_in(expr) or expr == "vector(1)"


def test_every_metric_that_a_page_asks_for_exists() -> None:
    asked = {
        metric
        for page in RUNBOOKS.glob("*.md")
        for query in re.findall(r"query '([^']+)'", page.read_text())
        for metric in metrics_in(query)
    }
    assert asked <= DOCUMENTED | DOCUMENTED_ON_PAGES | ours()
    assert asked >= DOCUMENTED_ON_PAGES


def test_every_documented_name_is_used() -> None:
    used = {metric for _, expr in expressions() for metric in metrics_in(expr)}
    assert used >= DOCUMENTED


def test_the_engines_stand_in_exports_what_is_asked_of_vllm() -> None:
    source = (ROOT / "lab/engine/scheduler.py").read_text()
    said = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("vllm:")
    }
    asked = {name for name in DOCUMENTED | DOCUMENTED_ON_PAGES if name.startswith("vllm:")}
    assert {name.removesuffix("_bucket").removesuffix("_total") for name in asked} <= said


def test_the_exporter_is_told_fields_that_it_knows() -> None:
    lines = [line.split(", ", 2) for line in counters_csv().splitlines()]
    assert {field for field, _, _ in lines} <= DCGM
    assert {kind for _, kind, _ in lines} == {"gauge", "counter"}
    assert all("," not in text for _, _, text in lines)
    autoscaling = set(re.findall(r"DCGM_\w+", rules_yaml(60)))
    assert autoscaling <= {field for field, _, _ in lines}


def test_labels_of_selectors_are_those_of_the_web_ui() -> None:
    """A selector with a label that a metric does not have finds nothing, for ever."""
    made = webui.Metrics()
    labels = {
        "webui_http_requests_total": made.http,
        "webui_http_request_duration_seconds": made.http_seconds,
        "webui_chat_answers_total": made.chats,
        "webui_dependency_up": made.up,
    }
    for _, expr in expressions():
        for metric, selector in re.findall(r"(webui_\w+)\{([^}]*)\}", expr):
            asked = set(re.findall(r"(\w+)(?:=|!)", re.sub(r'"[^"]*"', "", selector))) - {"job", "le"}
            family = labels.get(metric.removesuffix("_bucket").removesuffix("_count"))
            assert asked <= set(family._labelnames if family else ()), (metric, selector)


def test_answers_are_counted_in_the_bounds_that_an_objective_may_have() -> None:
    assert set(ANSWER_BOUNDS) <= set(webui.SECONDS)
    assert Objective().latency_seconds in ANSWER_BOUNDS
    assert 1.2 in webui.SECONDS  # GatewaySlow


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_a_page_that_helps(name: str) -> None:
    lines = (RUNBOOKS / f"{name}.md").read_text().splitlines()
    assert lines[0] == f"# {name}"
    assert [line for line in lines if line.startswith("##")] == HEADINGS
    assert 15 <= len(lines) <= 35
    assert "```" in lines
    assert max(map(len, lines)) <= 170


def test_every_page_is_an_alerts_and_leads_somewhere() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == set(NAMES)
    for page in RUNBOOKS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (RUNBOOKS / target).resolve().exists(), (page.name, target)


def test_the_index_is_made_of_the_alerts() -> None:
    assert (RUNBOOKS / "README.md").read_text() == index(), "run `make docs`"


@pytest.mark.parametrize(
    ("base", "link"),
    [
        ("docs/runbooks", "docs/runbooks/Watchdog.md"),
        ("https://git.example.com/x", "https://git.example.com/x/Watchdog.md"),
    ],
)
def test_an_alert_links_to_its_page(base: str, link: str) -> None:
    (watchdog,) = (alert for alert in ALERTS if alert.name == "Watchdog")
    assert watchdog.rule(base)["annotations"]["runbook_url"] == link
    assert all(alert.rule(base)["annotations"]["runbook_url"] == f"{base}/{alert.name}.md" for alert in ALERTS)


def test_names_severities_and_texts() -> None:
    for alert in ALERTS:
        assert re.fullmatch(r"([A-Z][a-z]+)+", alert.name)
        assert len(re.sub(r"{{[^}]*}}", "", alert.summary)) <= 80
        assert alert.description.endswith(".")
        assert not alert.summary.endswith(".")
    assert {alert.name for alert in ALERTS if alert.severity == "none"} == {"Watchdog"}


def test_what_a_stack_lacks_has_no_alerts() -> None:
    def names(**over: Any) -> set[str]:
        return {alert.name for alert in alerts(replace(everything(), **over))}

    engine = {"EngineDown", "EngineQueueBacklog", "EngineCacheFull", "FirstTokenSlow"}
    told = {alert.name for alert in alerts(replace(everything(), alerting=True))} - {
        alert.name for alert in alerts(everything())
    }
    assert len(told) == 6
    usual = set(NAMES) - {"CertificateOrderFailing"} - told
    assert names() == usual
    assert names(acme=True, alerting=True) == set(NAMES)
    assert usual - names(vllm=False) == engine
    assert usual - names(certificate_days=None) == {"CertificateEnding", "CertificateNotServed"}
    assert usual - names(image_scan=None) == {name for name in NAMES if name.startswith("Image")}
    assert usual - names(scaling=False) == {"MetricsApiDown", "ScalerAtMaximum", "ScalingMetricMissing"}
    assert usual - names(logs=False) == {name for name in NAMES if name.startswith("Log")}
    assert usual - names(traces=False) == {"TraceStoreDown"}
    assert usual - names(logs_disk_mib=None) == {"LogStoreFull"}
    assert usual - names(backup_hours=None) == {"BackupOld", "BackupFailed"}
    assert usual - names(gpu_exporter=False) == {name for name in NAMES if name.startswith("Gpu")}


@pytest.mark.parametrize(
    ("hours", "windows"),
    [
        (2, {"1h"}),
        (6, {"1h", "6h"}),
        (24, {"1h", "6h", "1d"}),
        (72, {"1h", "6h", "1d", "3d"}),
        (8760, {"1h", "6h", "1d", "3d"}),
    ],
)
def test_no_window_is_longer_than_samples_are_kept(hours: int, windows: set[str]) -> None:
    burns = [alert for alert in alerts(replace(everything(), retention_hours=hours)) if "long" in alert.labels]
    assert {alert.labels["long"] for alert in burns} == windows
    wanted = {name for window in windows for name in re.findall(r"\w+:\w+:rate\w+", str(burns)) if window}
    made = {
        rule.record
        for group in groups(replace(everything(), retention_hours=hours))
        for rule in group.rules
        if isinstance(rule, Recorded)
    }
    assert wanted <= made


OBJECTIVE = ("observability", "objective")
BOUNDS = ", ".join(f"{bound:g}" for bound in ANSWER_BOUNDS)
REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "a bound that is not counted",
        {"latencySeconds": 4},
        [f"observability.objective.latencySeconds: 4 s; answers are counted in the bounds {BOUNDS}. Write 3."],
    ),
    ("everything, always", {"availabilityPercent": 100}, ["observability.objective.availabilityPercent: "]),
    (
        "so little that the fast alert could not fire",
        {"latencyPercent": 90},
        ["observability.objective.latencyPercent: "],
    ),
    ("no time at all", {"firstTokenSeconds": 0}, ["observability.objective.firstTokenSeconds: "]),
]


@pytest.mark.parametrize(("objective", "lines"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_an_objective_that_nobody_can_watch_is_refused(objective: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(SettingsError) as failed:
        parse(with_value(OBJECTIVE, objective))
    found = [str(problem) for problem in failed.value.problems]
    assert len(found) == len(lines)
    assert all(each.startswith(line) for each, line in zip(found, lines, strict=True)), found


@pytest.mark.parametrize(("promised", "refused"), [(1.0, True), (1.2, True), (1.5, False)])
def test_nearly_all_answers_take_longer_than_the_average_one(promised: float, refused: bool) -> None:
    config = with_value(OBJECTIVE, {"latencySeconds": promised})
    config["inference"] = {"dtype": "fp8", "expectedLoad": {"requestsPerSecond": 1, "answerSeconds": 1.2}}
    if not refused:
        parse(config)
        return
    with pytest.raises(SettingsError) as failed:
        parse(config)
    assert [str(problem) for problem in failed.value.problems] == [
        f"observability.objective.latencySeconds: {promised:g} s, with answers of 1.2 s on average "
        "(inference.expectedLoad.answerSeconds); what nearly all answers keep is longer than what the average one takes. "
        "Raise it or lower the other."
    ]


def test_the_address_of_runbooks_is_one() -> None:
    assert parse(
        with_value(("observability", "runbookUrl"), "https://git.example.com/r/")
    ).observability.runbook_url == ("https://git.example.com/r")
    with pytest.raises(SettingsError):
        parse(with_value(("observability", "runbookUrl"), "docs/runbooks"))
