"""What the service promises, against what its replicas are planned for."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Settings
from components.settings.problem import Problem


def objective(settings: Settings) -> Iterator[Problem]:
    """With answers as long as planned on average, about half of them would be too slow: an alert that never ends."""
    load, promised = settings.inference.expected_load, settings.observability.objective.latency_seconds
    if load is None or load.answer_seconds < promised:
        return
    found = (
        f"{promised:g} s, with answers of {load.answer_seconds:g} s on average (inference.expectedLoad.answerSeconds)"
    )
    rule = "what nearly all answers keep is longer than what the average one takes"
    yield Problem("observability.objective.latencySeconds", found, rule, "Raise it or lower the other")


def grafana_host(settings: Settings) -> Iterator[Problem]:
    """The gateway shows one certificate, and an ACME server is asked for one name."""
    path, host, ingress = "observability.grafana.host", settings.observability.grafana.host, settings.ingress
    if host is None or not settings.observability.grafana.enabled:
        return
    if host == ingress.host:
        rule = "the service is at that name (ingress.host)"
        yield Problem(path, f"`{host}`", rule, f"Write another one, like `grafana.{host}`")
    if ingress.tls.acme is not None:
        rule = "the certificate that is ordered (ingress.tls.kind: acme) is for ingress.host only"
        remedy = "Remove it and use `kubectl port-forward`, or bring a certificate for both names (kind: certificate)"
        yield Problem(path, f"`{host}`", rule, remedy)


def operator(settings: Settings) -> Iterator[Problem]:
    """What belongs to a Prometheus of our own."""
    observability, path = settings.observability, "observability.prometheus.operator"
    if observability.operator is None:
        return
    if observability.prometheus.remote_write is not None:
        rule = "the operator's Prometheus writes where its own object says"
        remedy = "Set it there and remove it here"
        yield Problem("observability.prometheus.remoteWrite", f"set with `{path}`", rule, remedy)
    if observability.told.on:
        rule = "the operator's Prometheus tells its own Alertmanager"
        remedy = "Route alerts there, by their label `severity`, and remove receivers and heartbeat here"
        yield Problem("observability.alerting", f"set with `{path}`", rule, remedy)
