"""The gateway's certificate: that it is shown, and that it does not end unnoticed. Pure."""

from __future__ import annotations

from components.observability.alerts.rule import Alert, Group, Severity, Watched
from components.observability.targets import GATEWAY, ISSUER
from components.settings.tls import Tls, TlsKind
from host.authority import LEAF_DAYS

ENDS = f'traefik_tls_certs_not_after{{job="{GATEWAY.job}"}}'
DAY = 24 * 3600
# Long enough to order one and to wait for its approval; shorter than the 30 days before its end at which public authorities'
# clients renew (https://letsencrypt.org/docs/integration-guide/), so that one which is renewed by itself says nothing.
OWN_DAYS = 14
# An `up` in the last third of its life renews it (host/authority.py): a quarter means that there was none for a month.
PRIVATE_DAYS = LEAF_DAYS // 4
LAST_DAYS = 3  # over a weekend
# Of a certificate's life: three weeks of 90 days, and one; a day and a half of six days, and half a day.
ORDERED_PARTS: tuple[tuple[int, Severity], ...] = ((4, "warning"), (12, "critical"))
ORDINAL = {4: "quarter", 12: "twelfth"}
FAILURES = 3  # the server's own hiccup is over by then: a quarter of an hour


def early_days(tls: Tls) -> int | None:
    """How many days before its end a certificate should have been renewed; None without one."""
    days = {TlsKind.CERTIFICATE: OWN_DAYS, TlsKind.PRIVATE_CA: PRIVATE_DAYS, TlsKind.ACME: OWN_DAYS}
    return days.get(tls.kind)


def groups(watched: Watched) -> list[Group]:
    early = watched.certificate_days
    if early is None:
        return []
    if watched.acme:
        rules = (*(ordered_ending(*each) for each in ORDERED_PARTS), failing(), missing())
        return [Group(name="certificate", rules=rules)]
    return [Group(name="certificate", rules=(ending(early, "warning"), ending(LAST_DAYS, "critical"), missing()))]


def ordered_ending(part: int, severity: Severity) -> Alert:
    """By the issuer's own figures: servers choose how long a certificate is valid, and the gateways go on reporting the first
    one, which is valid for longer than any that follows."""
    job = f'{{job="{ISSUER.job}"}}'
    return Alert(
        name="CertificateEnding",
        severity=severity,
        expr=f"acme_issuer_not_after_seconds{job} - time() < acme_issuer_lifetime_seconds{job} / {part}",
        for_seconds=900,
        summary="The gateway's certificate ends in {{ $value | humanizeDuration }}",
        description=f"Less than a {ORDINAL[part]} of its life is left, and it is renewed in the last third. "
        "The annotation qwen3-vl/acme-message of the Secret default/traefik-acme says what the server objects to.",
    )


def failing() -> Alert:
    job = f'job="{ISSUER.job}"'
    return Alert(
        name="CertificateOrderFailing",
        severity="warning",
        expr=f"acme_issuer_failures_in_a_row{{{job}}} >= {FAILURES} or up{{{job}}} == 0 or absent(up{{{job}}})",
        for_seconds=900,
        summary="No certificate can be ordered for the gateway",
        description="Orders fail one after the other, or the issuer does not run. Gateways show what they have until it ends. "
        "The annotation qwen3-vl/acme-message of the Secret default/traefik-acme says why.",
    )


def ending(days: int, severity: str) -> Alert:
    """By the gateway that is worst off. Traefik goes on reporting certificates it no longer shows until it is restarted, so of
    what one gateway reports the latest end counts."""
    return Alert(
        name="CertificateEnding",
        severity="critical" if severity == "critical" else "warning",
        expr=f"min(max by (namespace, pod) ({ENDS})) - time() < {days * DAY}",
        for_seconds=900,
        summary="The gateway's certificate ends in {{ $value | humanizeDuration }}",
        description=f"Fewer than {days} days are left, and then no client accepts it. It should have been renewed by now: put"
        " the new one into ingress.tls.certificateFile and ingressKey, or, with a private CA, run `pulumi up`.",
    )


def missing() -> Alert:
    return Alert(
        name="CertificateNotServed",
        severity="critical",
        expr=f'up{{job="{GATEWAY.job}"}} == 1 unless on (namespace, pod) {ENDS}',
        for_seconds=300,
        summary="Gateway {{ $labels.pod }} on {{ $labels.node }} has no certificate",
        description="Clients of {{ $labels.pod }} get a certificate that they do not accept, or none. Look at the Secret"
        " traefik-certificate and the TLSStore default in the namespace default, and at the gateway's log.",
    )
