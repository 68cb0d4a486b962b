"""Two real Alertmanagers, the relay and whom they tell: once, also with one dead, in each format, and no secret in a log."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.observability.alertmanager_config import alertmanager_yaml
from components.settings.alerting import Alerting
from tests.support.alertmanager import Alertmanager, Listener, Relay, Told, programs
from tests.support.chat_processes import fetch, free_port
from tests.support.waiting import until

pytestmark = pytest.mark.engine
KEY, TOKEN = "SECcanary-of-a-signing-key", "canary-of-a-token"
EMAIL = {"kind": "email", "email": {"smtpHost": "mail.example.com", "from": "a@example.com", "to": "b@example.com"}}
KINDS = ("webhook", "slack", "dingtalk", "feishu")
EVERYTHING = {
    "heartbeat": True,
    "receivers": {kind: {"kind": kind} for kind in KINDS},
    "routes": {"critical": {"receivers": list(KINDS)}, "warning": {"receivers": ["webhook"]}},
}


def alert(name: str, severity: str = "critical", over: bool = False, **labels: str) -> dict[str, Any]:
    now = time.time()
    stamp = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + later)) for later in (-60, -1 if over else 600)]
    said = {"summary": f"{name} has happened", "description": "Look.", "runbook_url": "https://r.example.com/x.md"}
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": said,
        "startsAt": stamp[0],
        "endsAt": stamp[1],
    }


@dataclass(frozen=True, slots=True)
class Stage:
    listener: Listener
    relay: Relay
    pair: tuple[Alertmanager, Alertmanager]

    def tell(self, *alerts: dict[str, Any]) -> None:
        """As Prometheus does: everything to everybody who answers."""
        for each in self.pair:
            if each._process is not None and each._process.poll() is None:
                each.tell(*alerts)

    def output(self) -> str:
        return "".join(each.output() for each in (*self.pair, self.relay))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    alerting = Alerting.model_validate(EVERYTHING)
    with Listener() as listener:
        urls = {f"url-{kind}": f"{listener.url}/{kind}/{TOKEN}?access_token={TOKEN}" for kind in KINDS}
        urls["url-slack"] = f"{listener.url}/slack/{TOKEN}"
        relayed = {name: text for name, text in urls.items() if name[4:] in alerting.relayed}
        direct = {name: text for name, text in urls.items() if name not in relayed}
        keys = {f"sign-{name}": KEY for name in alerting.relayed}
        kinds = {name: each.kind for name, each in alerting.relayed.items()}
        files = {**direct, "heartbeat-url": f"{listener.url}/heartbeat/{TOKEN}"}
        ports = [free_port(), free_port()]
        with Relay(kinds, {**relayed, **keys}) as relay:
            first = Alertmanager(alerting, files, relay.port, ports[0], [ports[1]])
            second = Alertmanager(alerting, files, relay.port, ports[1], [ports[0]])
            with first, second:
                until(lambda: first.members() == second.members() == 2, "both to know each other")
                # Settled: before that each would send by itself.
                until(lambda: all(each.settled() for each in (first, second)), "both to settle")
                yield Stage(listener, relay, (first, second))


def only(found: list[Told]) -> Told:
    assert len(found) == 1, found
    return found[0]


def test_the_configuration_is_alertmanagers(tmp_path: Path) -> None:
    for number, settings in enumerate(
        (
            {"heartbeat": True},
            {"receivers": {"mail": EMAIL}},
            {"receivers": {"mail": {"kind": "email", "email": {**EMAIL["email"], "username": "u", "smtpPort": 465}}}},  # type: ignore[dict-item]
            EVERYTHING,
        )
    ):
        file = tmp_path / f"{number}.yml"
        file.write_text(alertmanager_yaml(Alerting.model_validate(settings)))
        done = subprocess.run([programs() / "amtool", "check-config", file], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=critical", "webhook,slack,dingtalk,feishu"),
        ("severity=warning", "webhook"),
        ("severity=none alertname=Watchdog", "heartbeat"),
        ("severity=none alertname=Other", "nobody"),
    ],
)
def test_who_is_told_of_what(labels: str, receivers: str, tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(alertmanager_yaml(Alerting.model_validate(EVERYTHING)))
    command: list[str | Path] = [
        programs() / "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={file}",
        *labels.split(),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == receivers


def test_an_alert_that_both_hear_of_is_told_once_in_each_format(stage: Stage) -> None:
    stage.tell(alert("GpuMissing", node="gpu-1"))
    at = {kind: f"/{kind}/{TOKEN}" for kind in KINDS}
    until(lambda: all(stage.listener.at(path, "GpuMissing") for path in at.values()), "all four to be told")
    time.sleep(6)  # longer than the other one waits
    hook, slack, ding, fei = (only(stage.listener.at(path, "GpuMissing")) for path in at.values())
    assert hook.body["alerts"][0]["labels"]["node"] == "gpu-1"
    assert hook.query == {"access_token": [TOKEN]}
    assert slack.body["attachments"][0]["title"] == "[1 firing] GpuMissing"
    assert "GpuMissing has happened" in slack.body["attachments"][0]["text"]
    assert ding.body["msgtype"] == "markdown"
    assert ding.body["markdown"]["title"] == "[1 firing] GpuMissing"
    assert "GpuMissing has happened" in ding.body["markdown"]["text"]
    stamp = ding.query["timestamp"][0]
    assert abs(int(stamp) / 1000 - time.time()) < 60
    expected = hmac.new(KEY.encode(), f"{stamp}\n{KEY}".encode(), hashlib.sha256).digest()
    assert base64.b64decode(ding.query["sign"][0]) == expected
    assert fei.body["msg_type"] == "interactive"
    assert fei.body["card"]["header"]["title"]["content"] == "[1 firing] GpuMissing"
    stamp = fei.body["timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    expected = hmac.new(f"{stamp}\n{KEY}".encode(), b"", hashlib.sha256).digest()
    assert base64.b64decode(fei.body["sign"]) == expected


def test_what_is_over_is_told_too(stage: Stage) -> None:
    path = f"/webhook/{TOKEN}"
    stage.tell(alert("Passing", "warning"))
    until(lambda: stage.listener.at(path, "Passing"), "the alert")
    stage.tell(alert("Passing", "warning", over=True))
    until(lambda: len(stage.listener.at(path, "Passing")) == 2, "its end")
    assert [each.body["status"] for each in stage.listener.at(path, "Passing")] == ["firing", "resolved"]


def test_what_a_lost_node_brings_along_is_not_told(stage: Stage) -> None:
    path = f"/webhook/{TOKEN}"
    stage.tell(
        alert("NodeDown", node="gpu-9"),
        alert("EngineDown", "warning", node="gpu-9", namespace="default", pod="a"),
        alert("EngineDown", "warning", node="gpu-8", namespace="default", pod="b"),
    )
    until(lambda: stage.listener.at(path, "gpu-8") and stage.listener.at(path, "NodeDown"), "the other node's")
    time.sleep(5)
    assert {each.body["groupLabels"]["alertname"] for each in stage.listener.at(path, "gpu-9")} == {"NodeDown"}


def test_what_hangs_on_a_stopped_member_of_etcd_is_not_told(stage: Stage) -> None:
    path = f"/webhook/{TOKEN}"
    stage.tell(
        alert("EtcdMemberDown", "warning", node="cp-9"),
        alert("ApiServerDown", "warning", node="cp-9"),
        alert("NodeNotReady", "warning", node="cp-9"),
        alert("PodCrashLooping", "warning", namespace="kube-system", pod="kube-apiserver-cp-9", container="x"),
        alert("PodCrashLooping", "warning", namespace="default", pod="redis-proxy-cp-9", container="x"),
    )
    until(
        lambda: stage.listener.at(path, "EtcdMemberDown") and stage.listener.at(path, "redis-proxy-cp-9"),
        "what is told",
    )
    time.sleep(5)
    told = {each.body["groupLabels"]["alertname"] for each in stage.listener.at(path, "cp-9")}
    assert told == {"EtcdMemberDown", "PodCrashLooping"}
    assert not stage.listener.at(path, "kube-apiserver-cp-9")


def test_the_heartbeat_is_sent(stage: Stage) -> None:
    stage.tell(alert("Watchdog", "none"))
    until(lambda: stage.listener.at(f"/heartbeat/{TOKEN}"), "the heartbeat")


def test_what_a_robot_refuses_is_sent_again(stage: Stage) -> None:
    """A robot refuses with status 200; before that somebody else would have to notice."""
    path = f"/dingtalk/{TOKEN}"
    stage.listener.answers[path] = (200, {"errcode": 310000, "errmsg": f"sign not match, token {TOKEN}"})
    stage.tell(alert("Refused"))
    until(lambda: len(stage.listener.at(path, "Refused")) >= 2, "a second attempt")
    until(lambda: stage.relay.metric("alert_relay_failures_total", "dingtalk") >= 2, "both to be counted")
    sent = stage.relay.metric("alert_relay_sent_total", "dingtalk")
    del stage.listener.answers[path]
    until(lambda: stage.relay.metric("alert_relay_sent_total", "dingtalk") > sent, "it to arrive")


def test_the_names_of_metrics_are_those_that_the_alerts_ask_for(stage: Stage) -> None:
    text = stage.pair[0].metrics()
    assert "alertmanager_cluster_members 2" in text
    assert "alertmanager_config_last_reload_successful 1" in text
    failed = [line for line in text.splitlines() if line.startswith("alertmanager_notifications_failed_total{")]
    assert any('receiver_name="slack"' in line and 'integration="slack"' in line for line in failed)


def test_the_relay_takes_nothing_else(stage: Stage) -> None:
    url = f"http://127.0.0.1:{stage.relay.port}"
    sound = json.dumps({"alerts": [alert("X") | {"status": "firing"}]}).encode()
    assert fetch(f"{url}/nobody", sound)[0] == 404
    assert fetch(f"{url}/dingtalk", b"{}")[0] == 400
    assert fetch(f"{url}/dingtalk", b"[")[0] == 400
    assert fetch(f"{url}/other")[0] == 404


def test_one_alone_goes_on_telling(stage: Stage) -> None:
    """Last but one: the first of the two is gone after it."""
    stage.pair[0].kill()
    stage.tell(alert("AfterDeath"))
    path = f"/feishu/{TOKEN}"
    until(lambda: stage.listener.at(path, "AfterDeath"), "the one that is left")
    time.sleep(3)
    assert len(stage.listener.at(path, "AfterDeath")) == 1


def test_no_log_has_a_secret(stage: Stage) -> None:
    """Last: after everything that has been logged, failures to connect among them."""
    stage.listener._server.shutdown()
    stage.listener._server.server_close()
    stage.tell(alert("Unreachable"))
    failures = stage.relay.metric("alert_relay_failures_total", "feishu")
    until(lambda: stage.relay.metric("alert_relay_failures_total", "feishu") > failures, "a failed attempt")
    time.sleep(3)
    said = stage.output()
    assert "Unreachable" in said
    assert KEY not in said
    assert TOKEN not in said
