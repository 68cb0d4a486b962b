"""Who may use the web UI and its API."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import HeaderName, HttpUrl, KeyName


class LoginKind(StrEnum):
    NONE = "none"
    PASSWORD = "password"  # noqa: S105
    FORWARD_AUTH = "forwardAuth"


class Login(Model):
    """Who may use the chat page, and so whose history is whose."""

    kind: LoginKind = Field(
        default=LoginKind.NONE,
        description="`none`: everybody, each browser with a history of its own; `password`: the users of `webuiUsers`; "
        "`forwardAuth`: whom an authentication service (OIDC) lets through Traefik.",
    )
    session_hours: int = Field(default=12, ge=1, le=720, description="`password`: hours until one has to log in again.")
    address: HttpUrl | None = Field(
        default=None,
        description="`forwardAuth`: address Traefik asks about each request, e.g. http://oauth2-proxy.auth.svc.cluster.local:4180/.",
    )
    user_header: HeaderName = Field(
        default="X-Auth-Request-User",
        description="`forwardAuth`: header of the service's answer that holds the user's name.",
    )
    logout_url: HttpUrl | None = Field(
        default=None, description="`forwardAuth`: where the service logs a user out; shown on the page."
    )


class KeyLimits(Model):
    """What one API key may use."""

    requests_in_flight: int = Field(
        default=256, ge=1, le=512, description="Requests of one key in flight in one replica."
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Requests of one key in a minute, in all replicas together; none: no such limit.",
    )


class Api(Model):
    """The OpenAI API at `/v1`."""

    access: Literal["keys", "open"] = Field(
        default="keys",
        description="`keys`: with a key of `apiKeys` only, so closed while there is none; `open`: to everybody who reaches it.",
    )
    limits: KeyLimits = Field(default=KeyLimits(), description="Of each key.")
    keys: dict[KeyName, KeyLimits] = Field(
        default_factory=dict, description="Limits of single keys in place of those, by the key's name in `apiKeys`."
    )


class WebUi(Model):
    """Access to the chat page and the API; the users and keys themselves are the secrets `webuiUsers` and `apiKeys`."""

    login: Login = Field(default=Login(), description="The chat page.")
    api: Api = Field(default=Api(), description="`/v1`.")
