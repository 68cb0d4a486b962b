"""Who may use the web UI: what its pods know of users and keys, and what Traefik asks before it lets a request through."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.credentials import Credentials
from components.settings import WebUi
from components.settings.webui import KeyLimits, Login, LoginKind

FOLDER = "/run/secrets/webui"
API_KEYS, USERS, TOKEN = "api-keys.json", "users.json", "gateway-token.sha256"
TOKEN_HEADER = "X-Qwen3-VL-Gateway"  # noqa: S105  the web UI looks for it
API = "(Path(`/v1`) || PathPrefix(`/v1/`))"


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """The plain part and, by file name, what is secret. Pods get digests and hashes, no key and no password."""

    webui: WebUi
    files: Mapping[str, pulumi.Input[str]]
    gateway_token: pulumi.Input[str] | None  # what Traefik shows


def access(webui: WebUi, credentials: Credentials) -> Access:
    files: dict[str, pulumi.Input[str]] = {}
    if webui.api.access == "keys":
        known = credentials.api_keys or pulumi.Output.secret(dict[str, str]())
        files[API_KEYS] = known.apply(lambda digests: api_keys_file(webui, digests))
    if webui.login.kind is LoginKind.PASSWORD and credentials.webui_users is not None:
        files[USERS] = credentials.webui_users.apply(lambda users: json.dumps(users, indent=1, sort_keys=True))
    shown = None
    if webui.login.kind is LoginKind.FORWARD_AUTH and credentials.gateway_token is not None:
        before = credentials.gateway_token_previous
        tokens = pulumi.Output.all(credentials.gateway_token, *([before] if before else []))
        files[TOKEN] = tokens.apply(token_file)
        shown = tokens.apply(" ".join)
    return Access(webui=webui, files=files, gateway_token=shown)


def token_file(tokens: Sequence[str]) -> str:
    """What the web UI reads: a digest in each line."""
    return "\n".join(hashlib.sha256(token.encode()).hexdigest() for token in tokens)


def api_keys_file(webui: WebUi, digests: Mapping[str, str]) -> str:
    """What the web UI reads: no key in it is a key."""

    def entry(name: str, digest: str) -> dict[str, Any]:
        limits: KeyLimits = webui.api.keys.get(name, webui.api.limits)
        return {
            "sha256": digest,
            "requestsInFlight": limits.requests_in_flight,
            "requestsPerMinute": limits.requests_per_minute,
        }

    return json.dumps({name: entry(name, digest) for name, digest in sorted(digests.items())}, indent=1)


def access_arguments(given: Access) -> list[str]:
    """Flags of webui.py."""
    login = given.webui.login
    arguments = []
    if API_KEYS in given.files:
        arguments.append(f"--api-keys-file={FOLDER}/{API_KEYS}")
    if USERS in given.files:
        hours = f"--session-hours={login.session_hours}"
        arguments += ["--login=password", f"--users-file={FOLDER}/{USERS}", hours]
    if TOKEN in given.files:
        trusted = [f"--gateway-token-file={FOLDER}/{TOKEN}", f"--user-header={login.user_header}"]
        arguments += ["--login=forward-auth", *trusted]
        arguments += [f"--logout-url={login.logout_url}"] if login.logout_url else []
    return arguments


def forward_auth(login: Login) -> dict[str, Any]:
    """Traefik asks the service about each request and takes the user's name from its answer, never from the client: the
    header is removed from what came in before it is set. The service sees the request's headers, not its body."""
    return {
        "forwardAuth": {
            "address": login.address,
            "authResponseHeaders": [login.user_header],
            "trustForwardHeader": False,
            "maxResponseBodySize": 64 * 1024,
        }
    }


def gateway_token(shown: pulumi.Input[str]) -> dict[str, Any]:
    """Comes behind `forward_auth`, so that the service is not shown it.

    While one token replaces another both are shown, with a space between, and both are taken: Traefik and the web UI's pods learn
    of a change minutes apart.
    """
    return {"headers": {"customRequestHeaders": {TOKEN_HEADER: shown}}}


def routes(
    rule: str, service: Mapping[str, str], login: Login, *, middlewares: tuple[str, ...], before: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """The page, and `/v1` beside it: programs show a key there, and no authentication service can log them in. Both pass the
    middlewares `before`."""
    whole: dict[str, Any] = {"kind": "Rule", "match": rule, "services": [dict(service)]}
    if before:
        whole["middlewares"] = [{"name": name} for name in before]
    if login.kind is not LoginKind.FORWARD_AUTH:
        return [whole]
    page = whole | {"middlewares": [{"name": name} for name in (*before, *middlewares)]}
    return [page, whole | {"match": f"{rule} && {API}"}]
