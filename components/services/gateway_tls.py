"""TLS at the gateway: one certificate in one Secret, which every replica reads and takes over as soon as it changes.

No replica asks anybody for a certificate, so their number does not matter, and whatever makes certificates only has to write
that Secret (docs/adr/0018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.naming import token
from components.services import acme_issuer
from components.services.acme_issuer import AcmeIssuer, AcmeIssuerArgs
from components.settings import Images, Ingress, certificate
from components.settings.tls import Tls
from host.authority import LEAF_DAYS
from host.resources import PrivateCertificate

TRAEFIK_API = "traefik.io/v1alpha1"
SECRET = "traefik-certificate"  # noqa: S105  its name
DEFAULT = "default"  # the name under which Traefik looks for what a route does not choose; one namespace may have it
LIFE = "qwen3-vl/certificate-days"
# https://wiki.mozilla.org/Security/Server_Side_TLS, intermediate, without the two DHE suites, which Go's TLS does not have.
# Those of TLS 1.3 cannot be chosen. No curves: Go's own order begins with the post-quantum one.
CIPHERS = tuple(
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
    for key in ("ECDSA", "RSA")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayTlsArgs:
    ingress: Ingress
    namespace: str  # one whose Secrets the gateway may read
    labels: Mapping[str, str]
    key: pulumi.Input[str] | None  # secret; that of `ingress.tls.certificateFile`
    images: Images
    acme_dns: pulumi.Input[Mapping[str, str]] | None = None  # secret; of `ingress.tls.acme.dnsProvider`
    acme_eab_key: pulumi.Input[str] | None = None  # secret; of `ingress.tls.acme.externalAccount`
    more_hosts: tuple[str, ...] = ()  # whom a certificate made here is for, beside `ingress.host`


class GatewayTls(pulumi.ComponentResource):
    """The Secret, and what tells Traefik to show it and how to speak TLS. Raises ValueError for a file without its key."""

    authority: pulumi.Output[str] | None  # PEM; what clients are to trust, where it was made here

    def __init__(self, name: str, args: GatewayTlsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token("services", "GatewayTls"), name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        self.authority = None
        shown: pulumi.Input[str]
        key: pulumi.Input[str]
        file = args.ingress.tls.certificate_file
        if file is not None:
            if args.key is None:
                raise ValueError("a certificate comes with its key")
            shown, key = certificate.read(file).decode(), args.key
        else:
            addresses = (args.ingress.address,) if args.ingress.address else ()
            made = PrivateCertificate(f"{name}-certificate", (args.ingress.host, *args.more_hosts), addresses, here)
            shown, key, self.authority = made.certificate, made.private_key, made.authority
        # Its name stays, so that another certificate is another content: Traefik watches that and restarts nothing.
        secret = Secret(
            f"{name}-secret",
            metadata=metadata(SECRET, args),
            type="kubernetes.io/tls",
            string_data={"tls.crt": shown, "tls.key": key},
            opts=here,
        )
        shown_from: pulumi.Resource = secret
        if args.ingress.tls.acme is not None:
            self.authority = None  # clients believe the server's, and this one only until there is its certificate
            shown_from = AcmeIssuer(
                "acme-issuer",
                AcmeIssuerArgs(
                    acme=args.ingress.tls.acme,
                    host=args.ingress.host,
                    namespace=args.namespace,
                    first=SECRET,
                    dns=args.acme_dns,
                    eab_key=args.acme_eab_key,
                    images=args.images,
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[secret]),
            )
        for kind, spec in (("TLSOption", options()), ("TLSStore", store(args.ingress.tls))):
            CustomResource(
                f"{name}-{kind.removeprefix('TLS').lower()}",
                TRAEFIK_API,
                kind,
                metadata=metadata(DEFAULT, args),
                spec=spec,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[shown_from]),
            )
        self.register_outputs({})


def metadata(name: str, args: GatewayTlsArgs) -> ObjectMetaArgs:
    return ObjectMetaArgs(name=name, namespace=args.namespace, labels=args.labels)


def options() -> dict[str, Any]:
    """Who asks by address or by another name is shown the certificate, too: probes of load balancers and monitoring ask like
    that, and refusing them (`sniStrict`) would hide nothing, as the name stands in the certificate that the right name gets."""
    return {"minVersion": "VersionTLS12", "cipherSuites": list(CIPHERS), "sniStrict": False}


def store(tls: Tls) -> dict[str, Any]:
    return {"defaultCertificate": {"secretName": SECRET if tls.acme is None else acme_issuer.CERTIFICATE}}


def redirection(tls: Tls) -> tuple[str, ...]:
    """Flags of the entry point for plain HTTP: everything is told to come by https, for good. By number, because the entry
    point's own port is that of the pod. Health checks come by another entry point.

    Where an ACME server looks for its challenges by plain HTTP, their route comes first.
    """
    flag = "--entryPoints.web.http.redirections.entryPoint"
    always = (f"{flag}.to=:443", f"{flag}.scheme=https", f"{flag}.permanent=true")
    challenged = tls.acme is not None and tls.acme.dns_provider is None
    return (*always, f"{flag}.priority={acme_issuer.PRIORITY - 1}") if challenged else always


def life_annotation(tls: Tls) -> dict[str, str] | None:
    """How long a certificate is valid, on the pods: another figure replaces them, a renewed certificate does not.

    A replica goes on reporting the end of every certificate it ever had, so one that is valid for a shorter time would hide
    behind its predecessor, and the alert on its end would come too late (components/observability/alerts/certificate.py).
    """
    if not tls.on:
        return None
    # Of an ACME server's the issuer tells the end; the first one, of the program's own authority, is as long as ever.
    days = LEAF_DAYS if tls.certificate_file is None else certificate.life_days(certificate.read(tls.certificate_file))
    return {LIFE: str(days)}
