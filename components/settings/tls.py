"""TLS at the gateway."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from components.settings.base import Model
from components.settings.syntax import FilePath


class TlsKind(StrEnum):
    NONE = "none"
    CERTIFICATE = "certificate"
    PRIVATE_CA = "privateCa"


class Tls(Model):
    """Where the gateway's certificate comes from."""

    kind: TlsKind = Field(
        default=TlsKind.PRIVATE_CA,
        description="`privateCa`: one of an authority that the program makes, which needs nothing of you; clients trust the stack "
        "output `ingressCa`. `certificate`: your own, with its key as the secret `ingressKey`. `none`: plain HTTP, whoever is on "
        "the way reads passwords, keys and chats.",
    )
    certificate_file: FilePath | None = Field(
        default=None,
        description="`certificate`: path of the certificate and its intermediates, PEM, on the operator's machine; absolute, ~ "
        "or relative to the project.",
    )
    hsts_days: int = Field(
        default=365,
        ge=0,
        le=730,
        description="With TLS: for how long browsers come by https only (HSTS), also once TLS is off again; 0: not told.",
    )

    @property
    def on(self) -> bool:
        return self.kind is not TlsKind.NONE
