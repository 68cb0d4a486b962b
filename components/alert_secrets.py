"""Secrets of who is told of alerts: addresses with tokens in them, keys of signatures, the mail server's password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import pulumi

from components.settings.alerting import Alerting

LONGEST_URL = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertSecrets:
    """Secret outputs; None: nobody needs it."""

    urls: pulumi.Output[dict[str, str]] | None = None  # receiver -> URL
    signing: pulumi.Output[dict[str, str]] | None = None  # receiver -> key of its robot's signature
    smtp_password: pulumi.Output[str] | None = None
    heartbeat_url: pulumi.Output[str] | None = None


def needed(alerting: Alerting) -> dict[str, tuple[str, str]]:
    """Key -> why it is needed, and how it is set."""
    found: dict[str, tuple[str, str]] = {}
    if not alerting.on:
        return found
    if alerting.with_url:
        why = "a receiver is reached at a URL (`observability.alerting.receivers`)"
        found["alertUrls"] = (why, f"--path 'alertUrls.{alerting.with_url[0]}' URL")
    if alerting.with_login:
        why = (
            f"the login at the mail server has a password (`observability.alerting.receivers.{alerting.with_login[0]}`)"
        )
        found["alertSmtpPassword"] = (why, "alertSmtpPassword VALUE")
    if alerting.heartbeat:
        why = "the heartbeat goes to a URL (`observability.alerting.heartbeat`)"
        found["alertHeartbeatUrl"] = (why, "alertHeartbeatUrl URL")
    return found


def checked_urls(project: str, urls: Mapping[str, str], alerting: Alerting) -> dict[str, str]:
    """Receiver -> URL. Raises pulumi.RunError, which shows no URL."""
    problems = [
        f"{project}:alertUrls.{name}: missing; receiver `{name}` (`kind: {alerting.receivers[name].kind}`) is reached at a URL."
        f" Run: pulumi config set --secret --path 'alertUrls.{name}' URL"
        for name in alerting.with_url
        if name not in urls
    ]
    problems += [_not_a_url(project, f"alertUrls.{name}") for name, url in urls.items() if not _is_url(url)]
    problems += _strangers(project, "alertUrls", urls, alerting.with_url, "with a URL")
    if problems:
        raise pulumi.RunError("\n".join(problems))
    return dict(urls)


def checked_signing(project: str, keys: Mapping[str, str], alerting: Alerting) -> dict[str, str]:
    """Receiver -> key. Raises pulumi.RunError, which shows no key."""
    problems = [
        f"{project}:alertSigningSecrets.{name}: not usable; a key is printable and without spaces."
        f" Run: pulumi config set --secret --path 'alertSigningSecrets.{name}' KEY"
        for name, key in keys.items()
        if not key or not key.isascii() or not key.isprintable() or " " in key
    ]
    problems += _strangers(project, "alertSigningSecrets", keys, tuple(alerting.relayed), "of a signing kind")
    if problems:
        raise pulumi.RunError("\n".join(problems))
    return dict(keys)


def checked_url(project: str, key: str, url: str) -> str:
    """The URL itself. Raises pulumi.RunError, without showing it, if it is none."""
    if not _is_url(url.strip()):
        raise pulumi.RunError(_not_a_url(project, key))
    return url.strip()


def checked_smtp_password(project: str, text: str) -> str:
    if not text or not text.isprintable():
        raise pulumi.RunError(
            f"{project}:alertSmtpPassword: not usable; it must be one printable line."
            " Run: pulumi config set --secret alertSmtpPassword VALUE"
        )
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= LONGEST_URL
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def _not_a_url(project: str, key: str) -> str:
    return (
        f"{project}:{key}: not usable; it must be an http or https URL of up to {LONGEST_URL} characters."
        f" Run: pulumi config set --secret --path '{key}' URL"
    )


def _strangers(project: str, key: str, found: Mapping[str, str], known: tuple[str, ...], kind: str) -> list[str]:
    return [
        f"{project}:{key}.{name}: no receiver `{name}` {kind}; observability.alerting.receivers has the names."
        f" Run: pulumi config rm --path '{key}.{name}'"
        for name in sorted(found)
        if name not in known
    ]
