"""Who is told of alerts: what the settings refuse, what the secrets refuse, and what a robot is sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.alert_secrets import checked_signing, checked_urls, needed
from components.observability.alertmanager_config import alertmanager_yaml
from components.settings.alerting import Alerting
from components.settings.parse import parse
from components.settings.problem import SettingsError
from tests.support.settings import with_value

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images/model-cache"))
from alert_relay import formats
from alert_relay.robots import Robot

PATH = "observability.alerting"
MAIL = {"smtpHost": "mail.example.com", "from": "a@example.com", "to": "b@example.com", "username": "u"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"receivers": {"a": {"kind": "slack"}}, "routes": {"warning": {"receivers": ["b"]}}},
        f"{PATH}.routes.warning.receivers[0]: unknown receiver `b`; a route leads to receivers of {PATH}.receivers (`a`)."
        " Add it there or correct the name.",
    ),
    (
        {"receivers": {"a": {"kind": "email"}}},
        f"{PATH}.receivers.a.email: missing with `kind: email`; mails need a server and addresses. Set it.",
    ),
    (
        {"receivers": {"a": {"kind": "slack", "email": MAIL}}},
        f"{PATH}.receivers.a.email: set with `kind: slack`; a receiver is of one kind. Remove it or choose `kind: email`.",
    ),
    (
        {"receivers": {"nobody": {"kind": "slack"}}},
        f"{PATH}.receivers.nobody: named `nobody`; the program's own receivers are called so. Choose another name.",
    ),
    (
        {"receivers": {"a": {"kind": "slack"}}, "routes": {"critical": {"receivers": []}}},
        f"{PATH}.routes.critical.receivers: empty; somebody has to hear of what wakes somebody."
        " Name a receiver or remove the key.",
    ),
    (
        {
            "receivers": {"a": {"kind": "slack"}, "b": {"kind": "slack"}},
            "routes": {"critical": {"receivers": ["a"]}, "warning": {"receivers": ["a"]}},
        },
        f"{PATH}.receivers.b: in no route; who is in no route is told nothing. Name it in a route or remove it.",
    ),
]


@pytest.mark.parametrize(("values", "line"), REFUSED)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(with_value(("observability", "alerting"), values))
    assert [str(problem) for problem in refused.value.problems] == [line]


@pytest.mark.parametrize(
    ("values", "on"),
    [
        ({}, False),
        ({"heartbeat": True}, True),
        ({"receivers": {"a": {"kind": "slack"}}}, True),
        ({"enabled": False, "heartbeat": True, "receivers": {"a": {"kind": "slack"}}}, False),
    ],
)
def test_it_runs_where_somebody_is_told(values: dict[str, Any], on: bool) -> None:
    alerting = Alerting.model_validate(values)
    assert alerting.on is on
    assert bool(needed(alerting)) is on


def test_nobody_is_told_where_nothing_computes_alerts() -> None:
    config = with_value(("observability",), {"enabled": False, "alerting": {"heartbeat": True}})
    config["autoscaling"] = {"enabled": False}
    assert not parse(config).observability.told.on


ALERTING = Alerting.model_validate(
    {"receivers": {"team": {"kind": "slack"}, "ding": {"kind": "dingtalk"}, "mail": {"kind": "email", "email": MAIL}}}
)


def test_what_is_missing_is_named_and_no_value_is() -> None:
    assert set(needed(ALERTING)) == {"alertUrls", "alertSmtpPassword"}
    with pytest.raises(pulumi.RunError) as refused:
        checked_urls("qwen3-vl", {"team": "ftp://canary", "mail": "https://canary"}, ALERTING)
    lines = str(refused.value).splitlines()
    assert lines[0] == (
        "qwen3-vl:alertUrls.ding: missing; receiver `ding` (`kind: dingtalk`) is reached at a URL."
        " Run: pulumi config set --secret --path 'alertUrls.ding' URL"
    )
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [
        "alertUrls.ding",
        "alertUrls.team",
        "alertUrls.mail",
    ]
    assert "canary" not in str(refused.value)
    with pytest.raises(pulumi.RunError, match=r"alertSigningSecrets.team: no receiver `team` of a signing kind"):
        checked_signing("qwen3-vl", {"team": "canary"}, ALERTING)


def test_every_severity_has_a_route_to_each_of_its_receivers() -> None:
    document = yaml.safe_load(alertmanager_yaml(ALERTING))
    watchdog, *routes = document["route"]["routes"]
    assert watchdog["receiver"] == "nobody"
    assert [(each["matchers"][0], each["receiver"], each["repeat_interval"]) for each in routes] == [
        (f'severity="{severity}"', name, f"{hours}h")
        for severity, hours in (("critical", 4), ("warning", 24))
        for name in ("team", "ding", "mail")
    ]
    assert all(each["continue"] for each in routes)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"errcode": 0, "errmsg": "ok"}, ""),
        ({"code": 0}, ""),
        ({"StatusCode": 0}, ""),
        ({"errcode": 310000, "errmsg": "sign not match"}, "code 310000: sign not match"),
        ({"code": 19021, "msg": "sign match fail"}, "code 19021: sign match fail"),
        ({}, "code None: "),
        ([], "an answer that is no object"),
    ],
)
def test_a_robots_answer_is_read(answer: Any, why: str) -> None:
    assert formats.refusal(json.dumps(answer).encode()) == why


def test_a_message_fits() -> None:
    alerts = [
        {"status": "firing", "labels": {"alertname": "A", "n": str(n)}, "annotations": {"summary": "x" * 500}}
        for n in range(200)
    ]
    for make in formats.FORMATS.values():
        body = make("https://x", "k", {"alerts": alerts}, 1.0).body
        assert len(json.dumps(body, ensure_ascii=False).encode()) < 20_000
        assert "more" in json.dumps(body)


def test_what_hides_secrets_hides_them() -> None:
    robot = Robot("dingtalk", "https://h.example.com/robot/send?access_token=canary", "key-canary")
    assert "canary" not in robot._hidden("failed at https://h.example.com/robot/send?access_token=canary, key-canary")
