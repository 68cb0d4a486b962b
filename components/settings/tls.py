"""TLS at the gateway."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from components.settings.acme import Acme
from components.settings.base import Model
from components.settings.syntax import FilePath


class TlsKind(StrEnum):
    NONE = "none"
    CERTIFICATE = "certificate"
    PRIVATE_CA = "privateCa"
    ACME = "acme"


class Tls(Model):
    """Where the gateway's certificate comes from."""

    kind: TlsKind = Field(
        default=TlsKind.PRIVATE_CA,
        description="`privateCa`: one of an authority that the program makes, which needs nothing of you; clients trust the "
        "stack output `ingressCa`. `acme`: one that browsers believe, of Let's Encrypt or a server of its kind, renewed in the "
        "cluster. `certificate`: your own, with its key as the secret `ingressKey`. `none`: plain HTTP, whoever is on "
        "the way reads passwords, keys and chats.",
    )
    certificate_file: FilePath | None = Field(
        default=None,
        description="`certificate`: path of the certificate and its intermediates, PEM, on the operator's machine; absolute, ~ "
        "or relative to the project.",
    )
    acme: Acme | None = Field(default=None, description="`acme`: the server and how it is answered.")
    hsts_days: int = Field(
        default=365,
        ge=0,
        le=730,
        description="With TLS: for how long browsers come by https only (HSTS), also once TLS is off again; 0: not told.",
    )

    @property
    def on(self) -> bool:
        return self.kind is not TlsKind.NONE
