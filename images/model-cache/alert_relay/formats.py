"""What DingTalk and Feishu are sent, their signatures, and what their answers mean. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

# Both refuse a body of more than 20 kB; what is left over is for the frame around the text, escaped.
LONGEST_TEXT = 12_000
COLOURS = {"critical": "red", "warning": "orange"}


@dataclass(frozen=True, slots=True)
class Message:
    """URL and JSON body of one request."""

    url: str
    body: dict[str, Any]


def headline(notification: Mapping[str, Any]) -> str:
    """`[2 firing] GpuMissing`."""
    alerts = notification["alerts"]
    firing = sum(each["status"] == "firing" for each in alerts)
    names = list(dict.fromkeys(str(each["labels"].get("alertname", "?")) for each in alerts))
    return f"[{f'{firing} firing' if firing else 'resolved'}] {', '.join(names[:5])}"


def markdown(notification: Mapping[str, Any]) -> str:
    """A paragraph for each alert, as many as fit."""
    paragraphs: list[str] = []
    alerts, length = notification["alerts"], 0
    for each in alerts:
        paragraph = _paragraph(each)
        length += len(paragraph.encode())
        if paragraphs and length > LONGEST_TEXT:
            paragraphs.append(f"... and {len(alerts) - len(paragraphs)} more")
            break
        paragraphs.append(paragraph[: LONGEST_TEXT // 4])
    return "\n\n".join(paragraphs)


def _paragraph(alert: Mapping[str, Any]) -> str:
    labels, said = alert["labels"], alert.get("annotations", {})
    severity = labels.get("severity", "")
    status = "resolved" if alert["status"] == "resolved" else severity
    where = ", ".join(f"{name}={labels[name]}" for name in sorted(labels) if name not in ("alertname", "severity"))
    lines = [f"**{status}** {said.get('summary') or labels.get('alertname', '?')}"]
    lines += [where] if where else []
    if alert["status"] != "resolved":
        lines += [str(said["description"])] if said.get("description") else []
        lines += [runbook] if (runbook := _runbook(said)) else []
    return "\n\n".join(lines)


def _runbook(said: Mapping[str, Any]) -> str:
    address = str(said.get("runbook_url", ""))
    return f"[Runbook]({address})" if address.startswith("http") else address


def severity(notification: Mapping[str, Any]) -> str:
    found = {each["labels"].get("severity") for each in notification["alerts"] if each["status"] == "firing"}
    return next((name for name in COLOURS if name in found), "")


def dingtalk(url: str, key: str | None, notification: Mapping[str, Any], now: float) -> Message:
    """https://open.dingtalk.com/document/robots/customize-robot-security-settings"""
    title = headline(notification)
    body = {"msgtype": "markdown", "markdown": {"title": title, "text": f"### {title}\n\n{markdown(notification)}"}}
    if key:
        stamp = str(int(now * 1000))
        sign = base64.b64encode(hmac.digest(key.encode(), f"{stamp}\n{key}".encode(), hashlib.sha256)).decode()
        url = f"{url}{'&' if '?' in url else '?'}timestamp={stamp}&sign={quote(sign, safe='')}"
    return Message(url, body)


def feishu(url: str, key: str | None, notification: Mapping[str, Any], now: float) -> Message:
    """https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot"""
    body: dict[str, Any] = {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {
                "title": {"tag": "plain_text", "content": headline(notification)},
                "template": COLOURS.get(severity(notification), "green"),
            },
            "elements": [{"tag": "markdown", "content": markdown(notification)}],
        },
    }
    if key:
        stamp = str(int(now))
        sign = base64.b64encode(hmac.digest(f"{stamp}\n{key}".encode(), b"", hashlib.sha256)).decode()
        body = {"timestamp": stamp, "sign": sign, **body}
    return Message(url, body)


def refusal(answer: bytes) -> str:
    """Why a robot did not take a message that it answered with 200; empty: it took it."""
    try:
        said = json.loads(answer)
    except ValueError:
        return "an answer that is no JSON"
    if not isinstance(said, dict):
        return "an answer that is no object"
    code = next((said[name] for name in ("errcode", "code", "StatusCode") if name in said), None)
    if code == 0:
        return ""
    words = next((str(said[name]) for name in ("errmsg", "msg", "StatusMessage") if said.get(name)), "")
    return f"code {code}: {words}"


FORMATS: Mapping[str, Callable[[str, str | None, Mapping[str, Any], float], Message]] = {
    "dingtalk": dingtalk,
    "feishu": feishu,
}
