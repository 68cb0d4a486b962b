"""A certificate of an ACME server."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from components.settings.base import Model
from components.settings.syntax import Address, FilePath, HttpUrl

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
# RFC 2606, RFC 6762 and ICANN's .internal, and what people use beside them: nobody vouches for such names.
PRIVATE_NAME = re.compile(
    r"(.*\.)?(example(\.(com|net|org))?|test|invalid|localhost|local|internal|lan|home|corp|intranet|arpa)|[^.]+"
)


class DnsProvider(StrEnum):
    CLOUDFLARE = "cloudflare"
    RFC2136 = "rfc2136"
    ROUTE53 = "route53"
    WEBHOOK = "webhook"


# What each cannot do without, by the names of lego (https://go-acme.github.io/lego/dns/), which takes further ones.
NEEDED: dict[DnsProvider, tuple[str, ...]] = {
    DnsProvider.CLOUDFLARE: ("CLOUDFLARE_DNS_API_TOKEN",),
    DnsProvider.RFC2136: ("DNSUPDATE_NAMESERVER",),
    DnsProvider.ROUTE53: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"),
    DnsProvider.WEBHOOK: ("HTTPREQ_ENDPOINT",),
}


class Acme(Model):
    """Where the certificate is ordered, and how the server is shown that the name is ours.

    Without `dnsProvider` by HTTP-01: the server asks `http://<ingress.host>/.well-known/acme-challenge/...`, so port 80 of the
    name has to lead to the gateway from the internet. With it by DNS-01: a TXT record, and no way in is needed.
    """

    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")] = Field(
        description="Contact of the account. With it you accept the server's terms of service."
    )
    directory: HttpUrl = Field(
        default=LETS_ENCRYPT,
        description=f"The server. Let's Encrypt unless said otherwise; to try things out: `{STAGING}`, whose certificates nobody "
        "believes and whose limits are wide.",
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="For a server of your own: certificate of the authority of its https, PEM, on the operator's machine.",
    )
    profile: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")] | None = Field(
        default=None,
        description="A kind of certificate that the server offers, e.g. `shortlived`; absent: its default.",
    )
    dns_provider: DnsProvider | None = Field(
        default=None,
        description="DNS-01 by this provider, whose settings are the secret `acmeDns`; `rfc2136`: DNS UPDATE; `webhook`: lego's "
        "`httpreq`. Absent: HTTP-01.",
    )
    dns_servers: tuple[Address, ...] = Field(
        default=(),
        description="DNS-01: name servers that are asked whether the record can be seen from outside; none: the cluster's.",
    )
    dns_wait_seconds: int = Field(
        default=0,
        ge=0,
        le=600,
        description="DNS-01: wait so long for the record in place of looking for it, where pods reach no name server that could "
        "show it.",
    )
    external_account: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")] | None = Field(
        default=None,
        description="Key identifier of an external account, where the server wants one; its key is the secret `acmeEabKey`.",
    )

    def request(self, host: str) -> str:
        """What the issuer notes on a certificate that was made for this (tools/acme-issuer, `settings.request`)."""
        return " ".join(filter(None, (host, self.directory, self.profile)))
