"""Who is told of alerts, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import KeyName

# Their robots take no message in Alertmanager's format (docs/adr/0027).
RELAYED = ("dingtalk", "feishu")
# Receivers in Alertmanager's configuration that are no settings: who hears nothing, and who watches that alerts keep coming.
NOBODY, HEARTBEAT = "nobody", "heartbeat"


class Email(Model):
    """A mail server, by STARTTLS; on port 465 by TLS from the first byte."""

    smtp_host: str = Field(min_length=1, description="Name or address of the mail server.")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    sender: str = Field(alias="from", min_length=3, description="Address that the mails come from.")
    to: str = Field(min_length=3, description="Addresses that they go to, with commas between them.")
    username: str | None = Field(
        default=None,
        description="Login at the mail server, with the secret `alertSmtpPassword`; none: without a login.",
    )
    require_tls: bool = Field(default=True, description="Send nothing in clear text.")


class Receiver(Model):
    """One who is told. Addresses with tokens in them are the secret `alertUrls`."""

    kind: Literal["webhook", "email", "slack", "dingtalk", "feishu"] = Field(
        description="`webhook`: Alertmanager's JSON; `slack`: an incoming webhook of Slack, or of what takes its format; "
        "`dingtalk`, `feishu`: a robot of a group; `email`."
    )
    email: Email | None = Field(default=None, description="`email`: where mails go.")
    send_resolved: bool = Field(default=True, description="Also tell when an alert is over.")


class Route(Model):
    """Who is told of alerts of one severity."""

    receivers: tuple[KeyName, ...] | None = Field(default=None, description="Names of `receivers`; none: all of them.")
    repeat_hours: int = Field(default=4, ge=1, le=168, description="Hours after which what still lasts is told again.")


class Routes(Model):
    """By the alerts' severity."""

    critical: Route = Field(default=Route(), description="What wakes somebody.")
    warning: Route = Field(default=Route(repeat_hours=24), description="What is for the day.")


class Alerting(Model):
    """Alertmanager: who is told of alerts (docs/alerting.md). It runs where there is a receiver or a heartbeat."""

    enabled: bool = Field(default=True, description="false: nobody is told, whatever else stands here.")
    receivers: dict[KeyName, Receiver] = Field(
        default_factory=dict, description="Who is told, by a name of your choice."
    )
    routes: Routes = Field(default=Routes(), description="Who is told of what.")
    heartbeat: bool = Field(
        default=False,
        description="POST to the secret `alertHeartbeatUrl` once a minute for as long as alerting works: a service that "
        "misses it tells you.",
    )

    @property
    def on(self) -> bool:
        return self.enabled and bool(self.receivers or self.heartbeat)

    @property
    def relayed(self) -> dict[str, Receiver]:
        return {name: each for name, each in self.receivers.items() if each.kind in RELAYED}

    def told(self, route: Route) -> tuple[str, ...]:
        return tuple(self.receivers) if route.receivers is None else route.receivers

    @property
    def with_url(self) -> tuple[str, ...]:
        return tuple(name for name, each in self.receivers.items() if each.kind != "email")

    @property
    def with_login(self) -> tuple[str, ...]:
        return tuple(name for name, each in self.receivers.items() if each.email and each.email.username)
