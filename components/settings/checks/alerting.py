"""Receivers and routes that only mean something together."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Settings
from components.settings.alerting import HEARTBEAT, NOBODY
from components.settings.problem import Problem, listed

PATH = "observability.alerting"


def receivers(settings: Settings) -> Iterator[Problem]:
    for name, receiver in settings.observability.alerting.receivers.items():
        path = f"{PATH}.receivers.{name}"
        if name in (NOBODY, HEARTBEAT):
            yield Problem(path, f"named `{name}`", "the program's own receivers are called so", "Choose another name")
        if receiver.kind == "email" and receiver.email is None:
            yield Problem(f"{path}.email", "missing with `kind: email`", "mails need a server and addresses", "Set it")
        if receiver.kind != "email" and receiver.email is not None:
            rule = "a receiver is of one kind"
            remedy = "Remove it or choose `kind: email`"
            yield Problem(f"{path}.email", f"set with `kind: {receiver.kind}`", rule, remedy)


def routes(settings: Settings) -> Iterator[Problem]:
    alerting = settings.observability.alerting
    known = listed(alerting.receivers) or "none"
    used: set[str] = set()
    for severity, route in (("critical", alerting.routes.critical), ("warning", alerting.routes.warning)):
        path = f"{PATH}.routes.{severity}.receivers"
        used |= set(alerting.told(route))
        for index, name in enumerate(route.receivers or ()):
            if name not in alerting.receivers:
                rule = f"a route leads to receivers of {PATH}.receivers ({known})"
                yield Problem(
                    f"{path}[{index}]", f"unknown receiver `{name}`", rule, "Add it there or correct the name"
                )
    if alerting.receivers and not alerting.told(alerting.routes.critical):
        rule = "somebody has to hear of what wakes somebody"
        yield Problem(f"{PATH}.routes.critical.receivers", "empty", rule, "Name a receiver or remove the key")
    for name in alerting.receivers:
        if name not in used:
            rule = "who is in no route is told nothing"
            yield Problem(f"{PATH}.receivers.{name}", "in no route", rule, "Name it in a route or remove it")
