"""Keys of `webui` that only mean something together."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Settings
from components.settings.problem import Problem
from components.settings.webui import LoginKind


def forward_auth(settings: Settings) -> Iterator[Problem]:
    login = settings.webui.login
    if login.kind is LoginKind.FORWARD_AUTH:
        if login.address is None:
            rule = "Traefik asks the authentication service there about each request"
            yield Problem("webui.login.address", "missing with `kind: forwardAuth`", rule, "Set it")
        return
    for key, value in (("address", login.address), ("logoutUrl", login.logout_url)):
        if value is not None:
            rule = "only an authentication service has one"
            remedy = "Remove it or choose `kind: forwardAuth`"
            yield Problem(f"webui.login.{key}", f"set with `kind: {login.kind}`", rule, remedy)


def api_keys(settings: Settings) -> Iterator[Problem]:
    api = settings.webui.api
    if api.access == "open" and api.keys:
        rule = "an open API asks for no key"
        yield Problem("webui.api.keys", "set with `access: open`", rule, "Remove it or choose `access: keys`")
