"""What the collector makes of a line, and what Loki is told to keep: pure texts, read as their programs read them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from components.cluster import api_server
from components.observability import log_collector_config, loki_config
from components.observability.log_collector_config import APP, AUDIT_LOG, MASKS, collector_yaml, for_all
from components.observability.loki_config import LABELS, loki_yaml
from components.settings.logs import Logs, LogStorage

URL = "http://loki.observability.svc.cluster.local:3100"
BUCKET = LogStorage(kind="s3", endpoint="https://s3.example.com", bucket="logs")


def collector(logs: Logs | None = None) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(collector_yaml(logs or Logs(), URL))
    return found


def loki(logs: Logs | None = None, replicas: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(loki_yaml(logs or Logs(), replicas=replicas, peers="loki-peers"))
    return found


def masked(line: str) -> str:
    """As the collector's operators one after the other: its `$$` is `$`, and Go's `${1}` is Python's `\\g<1>`."""
    for regex, by in MASKS:
        line = re.sub(regex.replace("$$", "$"), by.replace("$${1}", r"\g<1>"), line)
    return line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("password=hunter2", "password=***"),
        ("redis PASSWORD: hunter2, user: a", "redis PASSWORD: ***, user: a"),
        ('{"password":"hunter2","user":"a"}', '{"password":"***","user":"a"}'),
        ('{"password": "hunter2 with more", "user": "a"}', '{"password": "***", "user": "a"}'),
        (r'{"log":"{\"api_key\":\"hunter2\",\"n\":1}"}', r'{"log":"{\"api_key\":\"***\",\"n\":1}"}'),
        ("GET /v1?token=hunter2&n=1 200", "GET /v1?token=***&n=1 200"),
        ("X-Api-Key: hunter2", "X-Api-Key: ***"),
        ("client_secret='hunter2'", "client_secret='***'"),
        ("redis-server --requirepass hunter2 --port 6379", "redis-server --requirepass *** --port 6379"),
        ("masterauth hunter2", "masterauth ***"),
        ("serve --api-key hunter2", "serve --api-key ***"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("authorization: token hunter2", "authorization: ***"),
        ('"Authorization":"Basic aHVudGVyMg==","Accept":"*/*"', '"Authorization":"Basic ***","Accept":"*/*"'),
        ("asked with bearer hunter2hunter2.abc-_", "asked with bearer ***"),
        ("Cookie: a=1; session=hunter2", "Cookie: ***"),
        ('{"set-cookie":"session=hunter2; Path=/","n":1}', '{"set-cookie":"***","n":1}'),
        ("redis://:hunter2@redis:6379/0", "redis://:***@redis:6379/0"),
        ("https://alice:hunter2@git.example.com/x", "https://alice:***@git.example.com/x"),
    ],
)
def test_a_secret_is_masked_and_nothing_else(line: str, said: str) -> None:
    assert masked(line) == said


@pytest.mark.parametrize(
    "line",
    [
        "GET http://10.244.1.2:8000/v1/chat/completions 200",
        "prompt_tokens=1200 completion_tokens=64 max_tokens: 64",
        "Bearer of bad news",
        "2026-11-30T10:00:00Z level=info msg=ready",
        'secretName "tls" mounted',
    ],
)
def test_other_lines_are_left_alone(line: str) -> None:
    assert masked(line) == line


@pytest.mark.parametrize("regex", [regex for regex, _ in MASKS] + [APP])
def test_expressions_are_those_that_re2_knows(regex: str) -> None:
    assert not re.search(r"\(\?[=!<](?!\w)|\(\?<[=!]|\\[1-9]|\(\?>|[*+?}]\+", regex)
    re.compile(regex.replace("$$", "$").replace("${env:NODE_NAME}", "gpu-1"))


def test_every_source_is_masked_and_masked_last() -> None:
    last = for_all("x")[-len(MASKS) :]
    assert [each["regex"] for each in last] == [regex for regex, _ in MASKS]
    for name, receiver in collector()["receivers"].items():
        assert receiver["operators"][-len(MASKS) :] == last, name


@pytest.mark.parametrize(
    ("pod", "app"),
    [
        ("qwen3-vl-webui-7c9d8bfb5c-x2x4z", "qwen3-vl-webui"),
        ("redis-0", "redis"),
        ("flannel-x2x4z", "flannel"),
        ("image-scan-29271234-x2x4z", "image-scan"),
        ("kube-apiserver-gpu-1", "kube-apiserver"),
        ("single", "single"),
    ],
)
def test_the_app_is_read_from_the_name_of_a_pod(pod: str, app: str) -> None:
    found = re.match(APP.replace("$$", "$").replace("${env:NODE_NAME}", "gpu-1"), pod)
    assert found
    assert found["app"] == app


def test_streams_are_made_of_few_labels() -> None:
    told = loki()["distributor"]["otlp_config"]["default_resource_attributes_as_index_labels"]
    assert tuple(told) == LABELS == ("namespace", "app", "node", "container", "unit", "source")
    assert loki()["limits_config"]["discover_service_name"] == []


@pytest.mark.parametrize("hours", [24, 168])
def test_what_is_old_is_thrown_away_and_not_taken(hours: int) -> None:
    found = loki(Logs(retention_hours=hours))
    assert found["compactor"]["retention_enabled"] is True
    assert found["limits_config"]["retention_period"] == f"{hours}h"
    assert found["limits_config"]["reject_old_samples_max_age"] == f"{hours}h"


def test_one_on_a_disk_asks_nobody_and_three_find_each_other() -> None:
    alone, several = loki(), loki(Logs(storage=BUCKET), replicas=3)
    assert alone["common"]["ring"]["kvstore"]["store"] == "inmemory"
    assert "memberlist" not in alone
    assert several["common"]["replication_factor"] == 3
    assert several["memberlist"]["join_members"] == ["loki-peers:7946"]


def test_keys_of_the_bucket_are_not_in_the_text() -> None:
    storage = loki(Logs(storage=BUCKET))["common"]["storage"]["s3"]
    assert (storage["access_key_id"], storage["secret_access_key"]) == ("${S3_ACCESS_KEY}", "${S3_SECRET_KEY}")
    assert storage["insecure"] is False
    plain = LogStorage(kind="s3", endpoint="http://10.0.0.5:9000", bucket="logs")
    assert loki(Logs(storage=plain))["common"]["storage"]["s3"]["insecure"] is True


def test_what_waits_is_on_disk_and_tried_for_ever() -> None:
    sender = collector(Logs(queue_mib=32))["exporters"]["otlp_http"]
    assert sender["logs_endpoint"] == f"{URL}/otlp/v1/logs"
    assert sender["retry_on_failure"]["max_elapsed_time"] == "0s"
    assert sender["sending_queue"]["storage"] == "file_storage"
    assert sender["sending_queue"]["queue_size"] == 32 << 20


def test_namespaces_can_be_left_out_and_so_is_its_own_log() -> None:
    left_out = collector(Logs(exclude_namespaces=("kube-system",)))["receivers"]["file_log/pods"]["exclude"]
    assert left_out == ["/var/log/pods/kube-system_*/*/*.log", "/var/log/pods/*_log-collector-*/*/*.log"]


def test_names_and_ports_that_others_know() -> None:
    assert f"{api_server.AUDIT_LOGS}/audit.log" == AUDIT_LOG
    assert (loki_config.PORT, log_collector_config.METRICS_PORT) == (3100, 8888)
